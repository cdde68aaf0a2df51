"""Both clients over the stand-in, without sockets and without time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

from fotograma import AsyncClient, Client
from tests.support.fake_service import Asked, Dropped, StandIn

KINDS = ("blocking", "asynchronous")
Open = Callable[..., Any]


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


class Blocked:
    """An asynchronous client, called as if it were a blocking one."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client, self._runner = client, runner

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._client, name)
        if not callable(member):
            return member

        def call(*args: Any, **kwargs: Any) -> Any:
            result = member(*args, **kwargs)
            if inspect.isasyncgen(result):
                return iter(self._runner.run(_all(result)))
            return self._runner.run(result)

        return call


async def _all(items: Any) -> list[Any]:
    return [item async for item in items]


def transport(service: StandIn) -> httpx.MockTransport:
    def handle(request: httpx.Request) -> httpx.Response:
        return respond(service, request, request.read())

    return httpx.MockTransport(handle)


class AsyncTransport(httpx.AsyncBaseTransport):
    def __init__(self, service: StandIn) -> None:
        self._service = service

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return respond(self._service, request, await request.aread())


class Cut(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body whose connection breaks before its end."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("reset")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        raise httpx.ReadError("reset")


class Whole(httpx.ByteStream):
    pass


def respond(service: StandIn, request: httpx.Request, body: bytes) -> httpx.Response:
    try:
        told = service.answer(
            Asked(request.method, request.url.path, dict(request.url.params), dict(request.headers), body)
        )
    except Dropped:
        raise httpx.ReadError("reset") from None
    stream = Whole(told.body) if told.cut is None else Cut(told.body[: told.cut])
    return httpx.Response(told.status, headers=told.headers, stream=stream)


def opener(kind: str, service: StandIn, clock: Clock, runner: asyncio.Runner) -> Open:
    """Gives a function that makes a client of the kind; its options are the client's."""

    def open_(**options: Any) -> Any:
        keys = iter(range(10**6))
        common: dict[str, Any] = {"monotonic": clock.monotonic, "random": lambda: 0.5}
        common |= {"new_key": lambda: f"key-{next(keys)}", "token": "fg_key"} | options
        if kind == "blocking":
            return Client("http://fotograma", transport=transport(service), sleep=clock.sleep, **common)
        client = AsyncClient("http://fotograma", transport=AsyncTransport(service), sleep=clock.sleep_async, **common)
        return Blocked(client, runner)

    return open_

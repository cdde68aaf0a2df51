"""Both clients of the SDK on the fake service, without sockets and with a fake clock."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from cluster.client import httpx_adapter
from cluster.client.api_types import Tokens
from cluster.client.authorized_requests import Session
from cluster.client.credentials.token_store import OnTokens, TokenStore
from cluster.client.local_files.upload_state_file import UploadStateFile
from cluster.client.retry_policy import RetryPolicy
from fotograma import AsyncClient, Client
from tests.support.clients.fake_messages import ApiRequest, ConnectionDropped
from tests.support.clients.fake_service import FakeService

CLIENT_KINDS = ("blocking", "asynchronous")
OpenClient = Callable[..., Any]


class FakeClock:
    """A clock that moves only when a client sleeps. slept: seconds of each sleep."""

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


class BlockingAsyncClient:
    """Calls an asynchronous client as if it were the blocking one."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client, self._runner = client, runner

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._client, name)
        if not callable(member):
            return member

        def call(*args: Any, **kwargs: Any) -> Any:
            result = member(*args, **kwargs)
            if inspect.isasyncgen(result):
                return iter(self._runner.run(_collect(result)))
            return self._runner.run(result)

        return call


async def _collect(items: Any) -> list[Any]:
    return [item async for item in items]


def blocking_transport(service: FakeService) -> httpx.MockTransport:
    def handle(request: httpx.Request) -> httpx.Response:
        return respond_to(service, request, request.read())

    return httpx.MockTransport(handle)


class AsyncTransport(httpx.AsyncBaseTransport):
    def __init__(self, service: FakeService) -> None:
        self._service = service

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return respond_to(self._service, request, await request.aread())


class TruncatedBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A response body whose connection breaks after these bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("reset")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        raise httpx.ReadError("reset")


def respond_to(service: FakeService, request: httpx.Request, body: bytes) -> httpx.Response:
    try:
        response = service.respond(
            ApiRequest(request.method, request.url.path, dict(request.url.params), dict(request.headers), body)
        )
    except ConnectionDropped:
        raise httpx.ReadError("reset") from None
    end = response.truncated_at
    stream = httpx.ByteStream(response.body) if end is None else TruncatedBody(response.body[:end])
    return httpx.Response(response.status, headers=response.headers, stream=stream)


def client_opener(kind: str, service: FakeService, clock: FakeClock, runner: asyncio.Runner) -> OpenClient:
    """Returns a function that opens a client of this kind. Its options are those of the client."""

    keys = count()

    def open_(
        *,
        token: str | None = "fg_key",
        refresh_token: str | None = None,
        on_tokens: OnTokens | None = None,
        store: TokenStore | None = None,
        retry: RetryPolicy | None = None,
        upload_state: Path | None = None,
    ) -> Any:
        tokens = None if token is None else Tokens(token, refresh_token)
        session = Session(
            base_url="http://fotograma",
            store=store or TokenStore(tokens, on_tokens),
            policy=retry or RetryPolicy(),
            upload_state=None if upload_state is None else UploadStateFile(upload_state),
            monotonic=clock.monotonic,
            random=lambda: 0.5,
            new_key=lambda: f"key-{next(keys)}",
        )
        arguments = httpx_adapter.client_arguments(session.base_url, None)
        if kind == "blocking":
            http = httpx.Client(**arguments, transport=blocking_transport(service))
            return Client._assemble(session, http, lambda _, seconds: clock.sleep(seconds))
        asynchronous_http = httpx.AsyncClient(**arguments, transport=AsyncTransport(service))
        return BlockingAsyncClient(AsyncClient._assemble(session, asynchronous_http, clock.sleep_async), runner)

    return open_

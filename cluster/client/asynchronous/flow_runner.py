"""Carries out flows with httpx as coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar, assert_never
from weakref import WeakKeyDictionary

import httpx

from cluster.client import httpx_adapter
from cluster.client.authorized_requests import Session
from cluster.client.effects import (
    Body,
    Effect,
    Flow,
    Reply,
    RunConcurrently,
    RunExclusively,
    RunInSlot,
    RunInThread,
    Send,
    Sleep,
    Slots,
    WaitForNews,
)
from cluster.client.errors import FotogramaError, local_file_error
from cluster.client.live.follow_events import follow_events

T = TypeVar("T")
SleepFunction = Callable[[float], Awaitable[None]]


class AsyncFlowRunner:
    """The tasks of one event loop may share one client."""

    _session: Session
    _http: httpx.AsyncClient
    _sleep: SleepFunction

    def _set_up(self, session: Session, http: httpx.AsyncClient, sleep: SleepFunction = asyncio.sleep) -> None:
        self._session, self._http, self._sleep = session, http, sleep
        self._lock = asyncio.Lock()
        self._follower: asyncio.Task[None] | None = None
        self._semaphores: WeakKeyDictionary[Slots, asyncio.Semaphore] = WeakKeyDictionary()

    @classmethod
    def _assemble(cls, session: Session, http: httpx.AsyncClient, sleep: SleepFunction = asyncio.sleep) -> Self:
        """Returns a client of these parts."""
        client = cls.__new__(cls)
        client._set_up(session, http, sleep)
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """As `Client.close`."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
        await self._http.aclose()

    async def _call(self, flow: Flow[T]) -> T:
        """Runs the flow of one call. Raises only FotogramaError, besides what callbacks of the caller raise."""
        if self._http.is_closed:
            raise httpx_adapter.closed_client()
        try:
            return await self._run(flow)
        except FotogramaError:
            raise
        except OSError as error:
            raise local_file_error(error) from error

    async def _run(self, flow: Flow[T]) -> T:
        try:
            effect = next(flow)
            while True:
                try:
                    outcome = await self._perform(effect)
                except BaseException as error:  # noqa: BLE001 - thrown into the flow
                    effect = flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case Send():
                return await self._send(effect)
            case Sleep(seconds):
                return await self._sleep(seconds)
            case WaitForNews():
                return await self._wait_for_news(effect)
            case RunInThread(call):
                return await asyncio.to_thread(call)
            case RunExclusively(flow):
                async with self._lock, _entered_in_thread(self._session.store.exclusive()):
                    return await self._run(flow)
            case RunConcurrently(flows, max_concurrent):
                return await self._run_concurrently(flows, max_concurrent)
            case RunInSlot(slots, flow):
                async with self._semaphores.setdefault(slots, asyncio.Semaphore(slots.max_concurrent)):
                    return await self._run(flow)
            case _:
                assert_never(effect)

    async def _wait_for_news(self, effect: WaitForNews) -> None:
        """Keeps the stream of events open, in a task of its own that ends when nobody follows an extraction."""
        if self._follower is None or self._follower.done():
            self._follower = asyncio.create_task(self._run(follow_events(self._session)))
        news = asyncio.Event()
        with effect.live.waiting(effect.extraction, effect.epoch, news), suppress(TimeoutError):
            async with asyncio.timeout(effect.seconds):
                await news.wait()

    async def _run_concurrently(self, flows: Sequence[Flow[Any]], max_concurrent: int) -> list[Any]:
        slots, has_failed = asyncio.Semaphore(max_concurrent), False

        async def run(flow: Flow[Any]) -> Any:
            nonlocal has_failed
            async with slots:
                if has_failed:
                    return None
                try:
                    return await self._run(flow)
                except Exception as error:  # noqa: BLE001 - it is the outcome of the flow
                    has_failed = True
                    return error

        return await asyncio.gather(*map(run, flows))

    async def _send(self, send: Send) -> Reply:
        request, into = send.request, send.into
        body = request.body
        content = body if body is None or isinstance(body, bytes) else _read_in_threads(body)
        try:
            async with self._http.stream(
                request.method,
                request.path,
                params=request.params,
                headers=httpx_adapter.headers(request),
                content=content,
                # To the signed URL of a bucket. httpx sends the token to no other host.
                follow_redirects=into is not None,
            ) as response:
                if into is None or response.status_code not in httpx_adapter.CONTENT_STATUSES:
                    return httpx_adapter.reply(response, await response.aread())
                head = httpx_adapter.reply(response, b"")
                into.begin(head.status, head.headers)
                async for chunk in response.aiter_raw():
                    into.write(chunk)
                return head
        except httpx_adapter.FAILURES as error:
            raise httpx_adapter.explained(error) from error


async def _read_in_threads(body: Body) -> AsyncIterator[bytes]:
    chunks = body.chunks()
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk


@asynccontextmanager
async def _entered_in_thread(lock: AbstractContextManager[None]) -> AsyncIterator[None]:
    """Enters a blocking context manager in a thread. If the caller is cancelled meanwhile, it is entered and exited."""
    entering = asyncio.ensure_future(asyncio.to_thread(lock.__enter__))
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        entering.add_done_callback(lambda _: lock.__exit__(None, None, None))
        raise
    try:
        yield
    finally:
        lock.__exit__(None, None, None)

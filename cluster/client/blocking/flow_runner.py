"""Carries out flows with httpx: one in the calling thread, several at a time in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
WaitForStop = Callable[[threading.Event, float], object]
"""Waits so many seconds, or until the event is set."""


class _Stopped(BaseException):
    """The call that started this thread was interrupted."""


class BlockingFlowRunner:
    """Threads may share one client: each call runs in the thread that makes it."""

    _session: Session
    _http: httpx.Client
    _wait: WaitForStop

    def _set_up(self, session: Session, http: httpx.Client, wait: WaitForStop = threading.Event.wait) -> None:
        self._session, self._http, self._wait = session, http, wait
        self._lock = threading.Lock()
        self._slots_lock, self._follower_lock = threading.Lock(), threading.Lock()
        self._follower: threading.Thread | None = None
        self._is_closed = threading.Event()
        self._semaphores: WeakKeyDictionary[Slots, threading.Semaphore] = WeakKeyDictionary()

    @classmethod
    def _assemble(cls, session: Session, http: httpx.Client, wait: WaitForStop = threading.Event.wait) -> Self:
        """Returns a client of these parts."""
        client = cls.__new__(cls)
        client._set_up(session, http, wait)
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections.

        >>> client.close()
        """
        self._is_closed.set()
        self._http.close()

    def _call(self, flow: Flow[T]) -> T:
        """Runs the flow of one call. Raises only FotogramaError, besides what callbacks of the caller raise."""
        if self._http.is_closed:
            raise httpx_adapter.closed_client()
        try:
            return self._run(flow, threading.Event())
        except FotogramaError:
            raise
        except OSError as error:
            raise local_file_error(error) from error

    def _run(self, flow: Flow[T], stop: threading.Event) -> T:
        """stop: is set when the call was interrupted; then the flow ends before its next effect."""
        try:
            effect = next(flow)
            while True:
                try:
                    outcome = self._perform(effect, stop)
                except BaseException as error:  # noqa: BLE001 - thrown into the flow
                    effect = flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    def _perform(self, effect: Effect, stop: threading.Event) -> Any:
        if stop.is_set():
            raise _Stopped
        match effect:
            case Send():
                return self._send(effect, stop)
            case Sleep(seconds):
                self._wait(stop, seconds)
                return None
            case WaitForNews():
                self._wait_for_news(effect, stop)
                return None
            case RunInThread(call):
                return call()
            case RunExclusively(flow):
                with self._lock, self._session.store.exclusive():
                    return self._run(flow, stop)
            case RunConcurrently(flows, max_concurrent):
                return self._run_concurrently(flows, max_concurrent, stop)
            case RunInSlot(slots, flow):
                with self._semaphore(slots):
                    return self._run(flow, stop)
            case _:
                assert_never(effect)

    def _wait_for_news(self, effect: WaitForNews, stop: threading.Event) -> None:
        self._follow_events()
        news = threading.Event()
        with effect.live.waiting(effect.extraction, effect.epoch, news):
            if not stop.is_set():
                self._wait(news, effect.seconds)

    def _follow_events(self) -> None:
        """Keeps the stream of events open, in a thread of its own that ends when nobody follows an extraction."""

        def follow() -> None:
            with suppress(_Stopped):
                self._run(follow_events(self._session), self._is_closed)

        with self._follower_lock:
            if self._follower is None or not self._follower.is_alive():
                self._follower = threading.Thread(target=follow, name="fotograma-events", daemon=True)
                self._follower.start()

    def _semaphore(self, slots: Slots) -> threading.Semaphore:
        with self._slots_lock:
            return self._semaphores.setdefault(slots, threading.Semaphore(slots.max_concurrent))

    def _run_concurrently(self, flows: Sequence[Flow[Any]], max_concurrent: int, stop: threading.Event) -> list[Any]:
        outcomes: list[Any] = [None] * len(flows)
        has_failed = threading.Event()

        def run(number: int) -> None:
            if has_failed.is_set():
                return
            try:
                outcomes[number] = self._run(flows[number], stop)
            except Exception as error:  # noqa: BLE001 - it is the outcome of the flow
                outcomes[number] = error
                has_failed.set()

        threads = ThreadPoolExecutor(max(1, min(max_concurrent, len(flows))), "fotograma")
        try:
            for future in [threads.submit(run, number) for number in range(len(flows))]:
                future.result()
        except BaseException:
            # After Ctrl-C nobody waits for the threads: each one ends before its next effect.
            stop.set()
            self._session.live.wake_all()
            raise
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
        return outcomes

    def _send(self, send: Send, stop: threading.Event) -> Reply:
        request, into = send.request, send.into
        body = request.body
        try:
            with self._http.stream(
                request.method,
                request.path,
                params=request.params,
                headers=httpx_adapter.headers(request),
                content=body if body is None or isinstance(body, bytes) else _chunks_until_stop(body, stop),
                # To the signed URL of a bucket. httpx sends the token to no other host.
                follow_redirects=into is not None,
            ) as response:
                if into is None or response.status_code not in httpx_adapter.CONTENT_STATUSES:
                    return httpx_adapter.reply(response, response.read())
                head = httpx_adapter.reply(response, b"")
                into.begin(head.status, head.headers)
                for chunk in response.iter_raw():
                    if stop.is_set():
                        raise _Stopped
                    into.write(chunk)
                return head
        except httpx_adapter.FAILURES as error:
            raise httpx_adapter.explained(error) from error


def _chunks_until_stop(body: Body, stop: threading.Event) -> Iterator[bytes]:
    for chunk in body.chunks():
        if stop.is_set():
            raise _Stopped
        yield chunk

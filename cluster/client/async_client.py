"""The asyncio client: carries out flows with httpx."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, assert_never

import httpx

from cluster.client import api_calls, file_transfers, httpx_adapter, webhook_calls
from cluster.client.api_types import (
    Account,
    Delivery,
    Estimate,
    Extraction,
    Ledger,
    Manifest,
    Media,
    Page,
    Status,
    TimelineEvent,
    Tokens,
    Video,
    Webhook,
)
from cluster.client.authorized_requests import Session, new_key
from cluster.client.effects import Body, Effect, Flow, Reply, RunConcurrently, RunExclusively, RunInThread, Send, Sleep
from cluster.client.extraction_spec import Spec, spec_text
from cluster.client.file_transfers import AnyPath
from cluster.client.local_files.local_file import OnRead, OnSent
from cluster.client.local_files.resumable_download import OnReceived
from cluster.client.local_files.upload_state_file import UploadStateFile
from cluster.client.retry_policy import RetryPolicy
from cluster.client.token_store import OnTokens, TokenStore

T = TypeVar("T")


class AsyncClient:
    """Fotograma over HTTP, for asyncio. The tasks of one event loop may share one client.

    token: an access token or an API key. refresh_token: renews an expired access token, once per call. A refresh token
    works once, so `on_tokens` gets each new pair at once (None after a logout).
    store: reads and keeps the tokens, instead of these three. timeout_seconds: for each read and write.
    retry: how often and how long to repeat. upload_state: a file that records unfinished uploads, so that the same call
    continues them after a crash of this program; several programs may share it.

    Every call raises ApiError, ConnectionFailed, UnexpectedAnswer.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        refresh_token: str | None = None,
        on_tokens: OnTokens | None = None,
        store: TokenStore | None = None,
        timeout_seconds: float | None = None,
        retry: RetryPolicy | None = None,
        upload_state: AnyPath | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
        new_key: Callable[[], str] = new_key,
    ) -> None:
        tokens = Tokens(token, refresh_token) if token is not None else None
        self._session = Session(
            base_url=base_url,
            store=store or TokenStore(tokens, on_tokens),
            policy=retry or RetryPolicy(),
            upload_state=None if upload_state is None else UploadStateFile(Path(upload_state)),
            monotonic=monotonic,
            random=random,
            new_key=new_key,
        )
        self._http = httpx.AsyncClient(**httpx_adapter.client_arguments(base_url, timeout_seconds), transport=transport)
        self._sleep = sleep
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connections."""
        await self._http.aclose()

    @property
    def tokens(self) -> Tokens | None:
        """The tokens in use."""
        return self._session.store.tokens

    async def register(
        self, email: str, password: str, *, name: str | None = None, locale: str | None = None
    ) -> Account:
        """As `Client.register`."""
        return await self._run(api_calls.register(self._session, email, password, name, locale))

    async def login(self, email: str, password: str) -> Tokens:
        """As `Client.login`."""
        return await self._run(api_calls.login(self._session, email, password))

    async def refresh(self) -> Tokens | None:
        """As `Client.refresh`."""
        return await self._run(api_calls.refresh(self._session))

    async def logout(self) -> None:
        """As `Client.logout`."""
        await self._run(api_calls.logout(self._session))

    async def me(self) -> Account:
        """As `Client.me`."""
        return await self._run(api_calls.me(self._session))

    async def export_account(self, path: AnyPath, *, on_received: OnReceived | None = None) -> Path:
        """As `Client.export_account`."""
        return await self._run(file_transfers.export_account(self._session, path, on_received))

    async def delete_account(self, password: str) -> None:
        """As `Client.delete_account`."""
        await self._run(api_calls.delete_account(self._session, password))

    async def upload(
        self,
        path: AnyPath,
        spec: Spec | None = None,
        *,
        idempotency_key: str | None = None,
        by_content: bool = False,
        on_sent: OnSent | None = None,
        on_read: OnRead | None = None,
    ) -> Video:
        """As `Client.upload`."""
        (video,) = await self.submit(
            [path], spec, idempotency_key=idempotency_key, by_content=by_content, on_sent=on_sent, on_read=on_read
        )
        return video

    async def submit(
        self,
        paths: Iterable[AnyPath],
        spec: Spec | None = None,
        *,
        idempotency_key: str | None = None,
        by_content: bool = False,
        on_sent: OnSent | None = None,
        on_read: OnRead | None = None,
    ) -> list[Video]:
        """As `Client.submit`."""
        return await self._run(
            file_transfers.submit(
                self._session,
                paths,
                spec,
                key=idempotency_key,
                by_content=by_content,
                on_sent=on_sent,
                on_read=on_read,
            )
        )

    async def videos(
        self, *, status: Status | str | None = None, q: str | None = None, sha256: str | None = None
    ) -> AsyncIterator[Video]:
        """As `Client.videos`."""
        cursor = None
        while True:
            page = await self.video_page(status=status, q=q, sha256=sha256, limit=200, cursor=cursor)
            for video in page.items:
                yield video
            if (cursor := page.next_cursor) is None:
                return

    async def video_page(
        self,
        *,
        status: Status | str | None = None,
        q: str | None = None,
        sha256: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Video]:
        """As `Client.video_page`."""
        return await self._run(
            api_calls.video_page(self._session, status=status, q=q, sha256=sha256, limit=limit, cursor=cursor)
        )

    async def video(self, video_id: str) -> Video:
        """As `Client.video`."""
        return await self._run(api_calls.video(self._session, video_id))

    async def delete(self, video: Video | str) -> None:
        """As `Client.delete`."""
        await self._run(api_calls.delete(self._session, video))

    async def extract(self, video: Video | str, spec: Spec, *, idempotency_key: str | None = None) -> Extraction:
        """As `Client.extract`."""
        return await self._run(api_calls.extract(self._session, video, spec_text(spec), idempotency_key))

    async def estimate(self, video: Video | str | Media | Mapping[str, Any], spec: Spec | None = None) -> Estimate:
        """As `Client.estimate`."""
        text = None if spec is None else spec_text(spec)
        return await self._run(api_calls.estimate(self._session, video, text))

    async def extraction(self, extraction_id: str) -> Extraction:
        """As `Client.extraction`."""
        return await self._run(api_calls.extraction(self._session, extraction_id))

    async def cancel(self, extraction: Extraction | str) -> Extraction:
        """As `Client.cancel`."""
        return await self._run(api_calls.cancel(self._session, extraction))

    async def retry(self, extraction: Extraction | str, *, idempotency_key: str | None = None) -> Extraction:
        """As `Client.retry`."""
        return await self._run(api_calls.retry(self._session, extraction, idempotency_key))

    async def wait(
        self,
        extraction: Extraction | str,
        *,
        timeout_seconds: float | None = None,
        on_progress: api_calls.OnProgress | None = None,
    ) -> Extraction:
        """As `Client.wait`."""
        return await self._run(api_calls.wait(self._session, extraction, timeout_seconds, on_progress))

    async def download(
        self, extraction: Extraction | str, path: AnyPath, *, on_received: OnReceived | None = None
    ) -> Path:
        """As `Client.download`."""
        return await self._run(file_transfers.download(self._session, extraction, path, on_received))

    async def manifest(self, extraction: Extraction | str) -> Manifest:
        """As `Client.manifest`."""
        return await self._run(api_calls.manifest(self._session, extraction))

    async def timeline(self, extraction: Extraction | str) -> tuple[TimelineEvent, ...]:
        """As `Client.timeline`."""
        return await self._run(api_calls.timeline(self._session, extraction))

    async def ledger(self) -> Ledger:
        """As `Client.ledger`."""
        return await self._run(api_calls.ledger(self._session))

    async def webhooks(self) -> tuple[Webhook, ...]:
        """As `Client.webhooks`."""
        return await self._run(webhook_calls.list_webhooks(self._session))

    async def add_webhook(
        self, url: str, events: Sequence[str] | None = None, *, idempotency_key: str | None = None
    ) -> Webhook:
        """As `Client.add_webhook`."""
        return await self._run(webhook_calls.add_webhook(self._session, url, events, idempotency_key))

    async def delete_webhook(self, webhook: Webhook | str) -> None:
        """As `Client.delete_webhook`."""
        await self._run(webhook_calls.delete_webhook(self._session, webhook))

    async def deliveries(self, webhook: Webhook | str) -> tuple[Delivery, ...]:
        """As `Client.deliveries`."""
        return await self._run(webhook_calls.deliveries(self._session, webhook))

    async def redeliver(self, webhook: Webhook | str, delivery: Delivery | str) -> Delivery:
        """As `Client.redeliver`."""
        return await self._run(webhook_calls.redeliver(self._session, webhook, delivery))

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
            case RunInThread(call):
                return await asyncio.to_thread(call)
            case RunExclusively(flow):
                async with self._lock, _entered_in_thread(self._session.store.exclusive()):
                    return await self._run(flow)
            case RunConcurrently(flows, max_concurrent):
                return await self._run_concurrently(flows, max_concurrent)
            case _:
                assert_never(effect)

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
        except httpx.TransportError as error:
            raise httpx_adapter.connection_lost(error) from error


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

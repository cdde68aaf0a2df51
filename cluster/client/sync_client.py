"""The blocking client: carries out flows with httpx in the calling thread."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from cluster.client.effects import Effect, Flow, Reply, RunConcurrently, RunExclusively, RunInThread, Send, Sleep
from cluster.client.extraction_spec import Spec, spec_text
from cluster.client.file_transfers import AnyPath
from cluster.client.local_files.local_file import OnRead, OnSent
from cluster.client.local_files.resumable_download import OnReceived
from cluster.client.local_files.upload_state_file import UploadStateFile
from cluster.client.retry_policy import RetryPolicy
from cluster.client.token_store import OnTokens, TokenStore

T = TypeVar("T")


class Client:
    """Fotograma over HTTP. Threads may share one client.

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
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
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
        self._http = httpx.Client(**httpx_adapter.client_arguments(base_url, timeout_seconds), transport=transport)
        self._sleep = sleep
        self._lock = threading.Lock()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    @property
    def tokens(self) -> Tokens | None:
        """The tokens in use."""
        return self._session.store.tokens

    def register(self, email: str, password: str, *, name: str | None = None, locale: str | None = None) -> Account:
        """Creates an account. It is not logged in afterwards."""
        return self._run(api_calls.register(self._session, email, password, name, locale))

    def login(self, email: str, password: str) -> Tokens:
        """Starts a session, which later calls use."""
        return self._run(api_calls.login(self._session, email, password))

    def refresh(self) -> Tokens | None:
        """Renews the tokens. The other calls renew an expired access token themselves."""
        return self._run(api_calls.refresh(self._session))

    def logout(self) -> None:
        """Ends the session on the server and deletes the tokens."""
        self._run(api_calls.logout(self._session))

    def me(self) -> Account:
        """Returns the account that the token belongs to."""
        return self._run(api_calls.me(self._session))

    def export_account(self, path: AnyPath, *, on_received: OnReceived | None = None) -> Path:
        """Writes all that is stored about the account to the zip file `path`, whole or not at all. Also raises OSError.

        Its size is not known before. After a broken connection it begins anew.
        """
        return self._run(file_transfers.export_account(self._session, path, on_received))

    def delete_account(self, password: str) -> None:
        """Erases the account with all videos and results, and forgets the tokens. This can't be undone.

        Raises ApiError `bad_credentials` for a wrong password.
        """
        self._run(api_calls.delete_account(self._session, password))

    def upload(
        self,
        path: AnyPath,
        spec: Spec | None = None,
        *,
        idempotency_key: str | None = None,
        by_content: bool = False,
        on_sent: OnSent | None = None,
        on_read: OnRead | None = None,
    ) -> Video:
        """Uploads one video and extracts its frames by `spec`. Resumes after a broken connection.

        A repeated call with the same `idempotency_key` returns the same video. by_content: does not send content that
        a video of the account has. With `by_content`, with a key, and for a large file with an `upload_state`, the file
        is read for its SHA-256 first, and the service compares it. on_read: reports the progress of reading.
        Also raises UnsendableFile and OSError.
        """
        (video,) = self.submit(
            [path], spec, idempotency_key=idempotency_key, by_content=by_content, on_sent=on_sent, on_read=on_read
        )
        return video

    def submit(
        self,
        paths: Iterable[AnyPath],
        spec: Spec | None = None,
        *,
        idempotency_key: str | None = None,
        by_content: bool = False,
        on_sent: OnSent | None = None,
        on_read: OnRead | None = None,
    ) -> list[Video]:
        """Uploads videos as `upload` does, one after the other; `AsyncClient` sends several at once.

        Returns the videos in the order of the files.

        When an upload fails, the error's `failed_file` names the file and `submitted` has the videos of the others.
        """
        return self._run(
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

    def videos(
        self, *, status: Status | str | None = None, q: str | None = None, sha256: str | None = None
    ) -> Iterator[Video]:
        """Iterates over the account's videos, newest first. q: a part of the file name."""
        cursor = None
        while True:
            page = self.video_page(status=status, q=q, sha256=sha256, limit=200, cursor=cursor)
            yield from page.items
            if (cursor := page.next_cursor) is None:
                return

    def video_page(
        self,
        *,
        status: Status | str | None = None,
        q: str | None = None,
        sha256: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Video]:
        """Returns one page of the account's videos. limit: at most 200."""
        return self._run(
            api_calls.video_page(self._session, status=status, q=q, sha256=sha256, limit=limit, cursor=cursor)
        )

    def video(self, video_id: str) -> Video:
        """Returns one video, with its newest extraction."""
        return self._run(api_calls.video(self._session, video_id))

    def delete(self, video: Video | str) -> None:
        """Deletes a video, its extractions and their files. Cancels a running extraction first."""
        self._run(api_calls.delete(self._session, video))

    def extract(self, video: Video | str, spec: Spec, *, idempotency_key: str | None = None) -> Extraction:
        """Extracts a video again, without uploading it again."""
        return self._run(api_calls.extract(self._session, video, spec_text(spec), idempotency_key))

    def estimate(self, video: Video | str | Media | Mapping[str, Any], spec: Spec | None = None) -> Estimate:
        """Estimates an extraction: the number of images, the bytes of the archive and the seconds. Queues nothing.

        video: a stored video; or the `codec`, `width`, `height`, `duration` and `fps_average` of a file.
        """
        text = None if spec is None else spec_text(spec)
        return self._run(api_calls.estimate(self._session, video, text))

    def extraction(self, extraction_id: str) -> Extraction:
        """Returns one extraction, with its progress."""
        return self._run(api_calls.extraction(self._session, extraction_id))

    def cancel(self, extraction: Extraction | str) -> Extraction:
        """Cancels an extraction that has not ended. Raises ApiError `wrong_state` when it has."""
        return self._run(api_calls.cancel(self._session, extraction))

    def retry(self, extraction: Extraction | str, *, idempotency_key: str | None = None) -> Extraction:
        """Starts an extraction like this failed or cancelled one. Raises ApiError `wrong_state` for others."""
        return self._run(api_calls.retry(self._session, extraction, idempotency_key))

    def wait(
        self,
        extraction: Extraction | str,
        *,
        timeout_seconds: float | None = None,
        on_progress: api_calls.OnProgress | None = None,
    ) -> Extraction:
        """Waits until the extraction has succeeded. An outage of the server only delays it.

        on_progress: called with each state that is read. Also raises ExtractionFailed and WaitTimeout.
        """
        return self._run(api_calls.wait(self._session, extraction, timeout_seconds, on_progress))

    def download(self, extraction: Extraction | str, path: AnyPath, *, on_received: OnReceived | None = None) -> Path:
        """Writes the archive to the file `path`, whole and with the right digest, or not at all. A file with
        the same bytes is not downloaded again.

        Resumes after a broken connection. Also raises DownloadCorrupt and OSError.
        """
        return self._run(file_transfers.download(self._session, extraction, path, on_received))

    def manifest(self, extraction: Extraction | str) -> Manifest:
        """Returns the manifest of the archive."""
        return self._run(api_calls.manifest(self._session, extraction))

    def timeline(self, extraction: Extraction | str) -> tuple[TimelineEvent, ...]:
        """Returns the events of an extraction, oldest first."""
        return self._run(api_calls.timeline(self._session, extraction))

    def ledger(self) -> Ledger:
        """Compares every acceptance with its extraction. Raises ApiError `not_found` unless the account is an admin."""
        return self._run(api_calls.ledger(self._session))

    def webhooks(self) -> tuple[Webhook, ...]:
        """Returns the account's webhooks, newest first."""
        return self._run(webhook_calls.list_webhooks(self._session))

    def add_webhook(
        self, url: str, events: Sequence[str] | None = None, *, idempotency_key: str | None = None
    ) -> Webhook:
        """Adds a webhook. Only this response has its secret. events: such as `extraction.failed`; None: all."""
        return self._run(webhook_calls.add_webhook(self._session, url, events, idempotency_key))

    def delete_webhook(self, webhook: Webhook | str) -> None:
        """Deletes a webhook and its pending notifications."""
        self._run(webhook_calls.delete_webhook(self._session, webhook))

    def deliveries(self, webhook: Webhook | str) -> tuple[Delivery, ...]:
        """Returns the deliveries to a webhook, newest first."""
        return self._run(webhook_calls.deliveries(self._session, webhook))

    def redeliver(self, webhook: Webhook | str, delivery: Delivery | str) -> Delivery:
        """Sends a delivery again, under the same id. Raises ApiError `webhook_off` when the webhook is switched off."""
        return self._run(webhook_calls.redeliver(self._session, webhook, delivery))

    def _run(self, flow: Flow[T]) -> T:
        try:
            effect = next(flow)
            while True:
                try:
                    outcome = self._perform(effect)
                except BaseException as error:  # noqa: BLE001 - thrown into the flow
                    effect = flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case Send():
                return self._send(effect)
            case Sleep(seconds):
                return self._sleep(seconds)
            case RunInThread(call):
                return call()
            case RunExclusively(flow):
                with self._lock, self._session.store.exclusive():
                    return self._run(flow)
            case RunConcurrently(flows):
                return self._run_in_turn(flows)
            case _:
                assert_never(effect)

    def _run_in_turn(self, flows: Sequence[Flow[Any]]) -> list[Any]:
        outcomes: list[Any] = [None] * len(flows)
        for number, flow in enumerate(flows):
            try:
                outcomes[number] = self._run(flow)
            except Exception as error:  # noqa: BLE001 - it is the outcome of the flow
                outcomes[number] = error
                break
        return outcomes

    def _send(self, send: Send) -> Reply:
        request, into = send.request, send.into
        body = request.body
        content = body if body is None or isinstance(body, bytes) else body.chunks()
        try:
            with self._http.stream(
                request.method,
                request.path,
                params=request.params,
                headers=httpx_adapter.headers(request),
                content=content,
                # To the signed URL of a bucket. httpx sends the token to no other host.
                follow_redirects=into is not None,
            ) as response:
                if into is None or response.status_code not in httpx_adapter.CONTENT_STATUSES:
                    return httpx_adapter.reply(response, response.read())
                head = httpx_adapter.reply(response, b"")
                into.begin(head.status, head.headers)
                for chunk in response.iter_raw():
                    into.write(chunk)
                return head
        except httpx.TransportError as error:
            raise httpx_adapter.connection_lost(error) from error

"""Group commit: requests that arrive while others are being committed share the next transaction.

One transaction costs nearly the same for fifty requests as for one, so a peak needs few transactions, and a single
request waits for no other. Each request is still all or nothing: a batch that can't be written as a whole is written
request by request. Source: DeWitt et al., "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db import videos
from db.acceptance import accept, idempotency_keys, quotas, resumable_uploads
from db.acceptance.accept import Upload
from db.acceptance.idempotency_keys import OwnedKey, StoredResponse
from db.acceptance.quotas import Quotas
from db.acceptance.resumable_uploads import Chunk, UploadState
from db.connection import is_outage
from db.run_to_completion import run_to_completion
from db.tracing_api import describe
from db.values.error_catalogue import CatalogueError
from serve_app import cached_representations
from serve_app.http.json_response import encode_json
from serve_app.http.request_metrics import NO_API_METRICS, ApiMetrics
from serve_app.http.request_tracing import note_ids

WRITERS = 2
"""Concurrent transactions: while the server commits one, the other is prepared here. The requests of an account go
through one writer, so that no transaction waits for a lock of another transaction of this replica."""
MAX_UPLOADS = 250
"""In one transaction. A single request may have more."""


@dataclass(frozen=True, slots=True)
class UploadEnd:
    """What completes an upload by tus: its last chunks, or its size alone when all bytes had arrived before."""

    upload: UploadState
    chunks: Sequence[Chunk]
    size: int


@dataclass(frozen=True, slots=True)
class AcceptRequest:
    """One request's uploads, at least one, all of one account.

    key: the request's claimed idempotency key. fingerprint: of the request; it is stored with the response. end: of an
    upload by tus, whose quota was taken when it was created. keeps_key: whether the key is kept as long as the (only)
    video, not for a day.
    """

    uploads: Sequence[Upload]
    key: OwnedKey | None = None
    fingerprint: str = ""
    end: UploadEnd | None = None
    keeps_key: bool = False

    @property
    def new_files(self) -> int:
        """Files that count against the account's quota from now on."""
        return 0 if self.end is not None else len(self.uploads)

    @property
    def new_bytes(self) -> int:
        """Bytes that count against the account's quota from now on."""
        return 0 if self.end is not None else sum(upload.size for upload in self.uploads)


@dataclass(slots=True)
class _Pending:
    """response: done when the request is committed or refused. body: the response of a successful commit."""

    request: AcceptRequest
    response: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    body: bytes = b""


@dataclass(slots=True)
class _Writer:
    queue: deque[_Pending] = field(default_factory=deque)
    is_running: bool = False

    def next_batch(self) -> list[_Pending]:
        batch = [self.queue.popleft()]
        count = len(batch[0].request.uploads)
        while self.queue and (count := count + len(self.queue[0].request.uploads)) <= MAX_UPLOADS:
            batch.append(self.queue.popleft())
        return batch


class GroupCommit:
    """The writers of one replica."""

    def __init__(self, database: AsyncEngine, limits: Quotas, metrics: ApiMetrics = NO_API_METRICS) -> None:
        self._database, self._quotas, self._metrics = database, limits, metrics
        self._writers = tuple(_Writer() for _ in range(WRITERS))
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, request: AcceptRequest) -> bytes:
        """Commits the request's rows with its response, and returns the response's JSON.

        Runs to its end even when the caller is cancelled. Raises CatalogueError as quotas, reservations and
        idempotency keys do, and the database's own errors during an outage.
        """
        pending, writer = _Pending(request), self._writers[request.uploads[0].user_id.int % WRITERS]
        writer.queue.append(pending)
        if not writer.is_running:
            writer.is_running = True
            task = asyncio.create_task(self._run(writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        body = await run_to_completion(pending.response)
        _note_ids(request.uploads)
        return body

    async def _run(self, writer: _Writer) -> None:
        try:
            while writer.queue:
                await self._commit(writer.next_batch())
        finally:
            # No await between the last look at the queue and this: the next request must start a new task.
            writer.is_running = False

    async def _commit(self, batch: Sequence[_Pending]) -> None:
        """Gives each request of the batch its response or its error."""
        try:
            async with self._database.begin() as connection:
                await self._write(connection, await self._within_quotas(connection, batch))
        except Exception as error:  # noqa: BLE001 - given to the requests
            # The error belongs to one of the requests, unless it is an outage.
            retry_each = len(batch) > 1 and not is_outage(error)
            for one in batch:
                if not one.response.done():
                    await (self._commit([one]) if retry_each else self._fail(one, error))
        except BaseException:
            for one in batch:
                one.response.cancel()
            raise
        else:
            for one in batch:
                if not one.response.done():
                    self._succeed(one)

    def _succeed(self, one: _Pending) -> None:
        one.response.set_result(one.body)
        self._metrics.accepted(len(one.request.uploads))

    async def _within_quotas(self, connection: AsyncConnection, batch: Sequence[_Pending]) -> list[_Pending]:
        """The requests that fit into their accounts' quotas, in order. The others get their error."""
        user_ids = {one.request.uploads[0].user_id for one in batch}
        allowances = await quotas.lock_allowances(connection, user_ids, self._quotas)
        accepted = []
        for one in batch:
            user_id, files, size = one.request.uploads[0].user_id, one.request.new_files, one.request.new_bytes
            try:
                allowances[user_id].check(files=files, size=size)
            except CatalogueError as error:
                one.response.set_exception(error)
            else:
                allowances[user_id] = allowances[user_id].with_more(files=files, size=size)
                accepted.append(one)
        return accepted

    async def _write(self, connection: AsyncConnection, batch: Sequence[_Pending]) -> None:
        if not batch:
            return
        uploads = [upload for one in batch for upload in one.request.uploads]
        for one in batch:
            if one.request.end is not None:
                await _end_upload(connection, one.request.end)
        await accept.accept(connection, uploads)
        rows = await videos.read_rows_within(connection, [upload.extraction_id for upload in uploads])
        stored: dict[OwnedKey, StoredResponse] = {}
        for one in batch:
            written = (rows[upload.extraction_id] for upload in one.request.uploads)
            one.body = encode_json({"items": [cached_representations.representation_of(row).video for row in written]})
            if one.request.key is not None:
                video_id = one.request.uploads[0].video_id if one.request.keeps_key else None
                stored[one.request.key] = StoredResponse(one.request.fingerprint, 201, one.body.decode(), video_id)
        await idempotency_keys.store_responses(connection, stored)

    async def _fail(self, one: _Pending, error: Exception) -> None:
        """Gives the request its error. It succeeds all the same when only the answer to its COMMIT was lost."""
        is_accepted = False
        if is_outage(error) and one.body:
            upload = one.request.uploads[0]
            try:
                is_accepted = await videos.video_key_of(self._database, upload.user_id, upload.video_id) is not None
            except Exception as later:  # noqa: BLE001 - given to the request
                error = later
        if one.response.done():
            return
        if is_accepted:
            self._succeed(one)
        else:
            one.response.set_exception(error)


def _note_ids(uploads: Sequence[Upload]) -> None:
    if len(uploads) == 1:
        note_ids(video_id=str(uploads[0].video_id), extraction_id=str(uploads[0].extraction_id))
    else:
        describe({"fotograma.extraction.ids": [str(upload.extraction_id) for upload in uploads]})


async def _end_upload(connection: AsyncConnection, end: UploadEnd) -> None:
    """Raises CatalogueError `upload_conflict`."""
    if end.upload.size is None:
        await resumable_uploads.set_size(connection, end.upload, end.size, expiry_seconds=0)
    else:
        await resumable_uploads.add_chunks(connection, end.upload, end.chunks, expiry_seconds=0)

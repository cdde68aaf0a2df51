"""Receives the bytes of an upload by tus: a request body of any size becomes chunk objects while it arrives.

When a connection breaks, what has arrived is kept: the chunk that is being written ends there and is committed. With a
checksum the request is all or nothing, because tus requires it. A client that is too slow gets an error, and what has
arrived is kept as well.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import ClientDisconnect
from uuid_utils.compat import uuid7

from db.acceptance import quotas, resumable_uploads
from db.acceptance.accept import Upload
from db.acceptance.resumable_uploads import Chunk, UploadState
from db.connection import is_outage
from db.object_store.object_keys import chunk_key
from db.object_store.object_store import ObjectStore
from db.run_to_completion import run_to_completion
from db.tracing_api import current_origin
from db.values.error_catalogue import CatalogueError
from db.values.file_type import HEAD_BYTES, sniff
from serve_app.http.request_body_reader import RequestBodyReader
from serve_app.http.server.slow_clients import request_timeout_error
from serve_app.http.tus_headers import Checksum
from serve_app.submission.admission_control import AdmissionControl
from serve_app.submission.group_commit import AcceptRequest, GroupCommit, UploadEnd

CHUNK_BYTES = 64 << 20
"""The largest chunk object: as much as the SDK sends in one request. A replica that dies loses at most the chunk that
it is writing. Between two chunks the client waits for the disk and the commit.
"""
CHUNK_SECONDS = 60.0
"""After so long a chunk ends, if it has SMALL_CHUNK_BYTES. So a slow client does not lose more by a replica's death."""
MAX_UNCOMMITTED_SECONDS = 12 * 3600.0
"""The longest time from the first byte of a chunk to the commit of its row. After a day, maintenance deletes an
object without a row (`actors.maintenance.orphan_collector`). With a checksum, a request adds its rows at its end."""


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """max_bytes: of one video. max_request_bytes: of one request; None for any. expiry_seconds: an upload that gets no
    byte for so long is discarded.
    """

    max_bytes: int
    max_request_bytes: int | None
    expiry_seconds: float

    @property
    def max_append_bytes(self) -> int:
        """The most bytes that one request may bring."""
        return self.max_bytes if self.max_request_bytes is None else self.max_request_bytes


class ChunkReceiver:
    """Stores and commits the bytes of uploads. One for each replica."""

    def __init__(
        self,
        database: AsyncEngine,
        objects: ObjectStore,
        group_commit: GroupCommit,
        admission: AdmissionControl,
        policy: UploadPolicy,
    ) -> None:
        self._database, self._objects, self._group_commit = database, objects, group_commit
        self._admission, self._quotas, self._policy = admission, admission.limits.quotas, policy

    async def receive(
        self, upload: UploadState, blocks: AsyncIterator[bytes], checksum: Checksum | None
    ) -> UploadState:
        """Stores and commits the bytes of a request, from the upload's offset on. Returns the new state of the upload.

        Raises CatalogueError `upload_conflict`, `chunk_checksum_mismatch`, `too_large`, those of the object store and
        of accepting; those of `sniff`, after which the upload is discarded; `request_timeout` after a slow body. What
        was committed before the error stays.
        """
        body = (
            RequestBodyReader(blocks)
            if checksum is None
            else RequestBodyReader(blocks, checksum.hasher(), MAX_UNCOMMITTED_SECONDS)
        )
        receiving = asyncio.ensure_future(self._receive(upload, body, checksum))
        try:
            return await asyncio.shield(receiving)
        except asyncio.CancelledError:
            # Serve cancels the request of a client that went away: what has arrived is still committed.
            body.disconnect()
            with suppress(CatalogueError):
                await run_to_completion(receiving)
            raise
        finally:
            await body.close()

    async def set_size(self, upload: UploadState, size: int) -> UploadState:
        """Sets a size that was deferred. Accepts the video when all its bytes have arrived.

        Raises CatalogueError `upload_conflict`, those of quotas and of the room in the store, of `sniff` and of
        accepting.
        """
        if size < upload.received:
            raise CatalogueError("upload_conflict", f"{upload.received} bytes have arrived; {size} is less.")
        if size == upload.received:
            await self._check_stored_type(upload)
            await self._accept(upload, UploadEnd(upload, (), size))
            return await resumable_uploads.find(self._database, upload.user_id, upload.id)
        async with self._database.begin() as connection:
            allowances = await quotas.lock_allowances(connection, [upload.user_id], self._quotas)
            allowances[upload.user_id].check(files=0, size=size - upload.received)
            await self._admission.admit_announced(connection, size - upload.received)
            expiry = self._policy.expiry_seconds
            return await resumable_uploads.set_size(connection, upload, size, expiry_seconds=expiry)

    async def _receive(self, upload: UploadState, body: RequestBodyReader, checksum: Checksum | None) -> UploadState:
        if upload.received == 0:
            await self._check_type(upload, body)
        if checksum is not None:
            return await self._receive_checked(upload, body, checksum)
        while await body.has_more():
            started_at = time.monotonic()
            chunk = await self._store(upload, upload.received, body)
            upload = await self._commit(upload, [chunk], body, started_at)
        if body.timeout_error is not None and not upload.is_complete:
            raise body.timeout_error
        return upload

    async def _receive_checked(self, upload: UploadState, body: RequestBodyReader, checksum: Checksum) -> UploadState:
        chunks, start, started_at = list[Chunk](), upload.received, time.monotonic()
        try:
            while await body.has_more():
                chunks.append(await self._store(upload, start, body))
                start += chunks[-1].size
            if body.was_disconnected:
                raise body.timeout_error or ClientDisconnect
            if body.digest() != checksum.digest:
                raise CatalogueError("chunk_checksum_mismatch")
        except BaseException:
            await run_to_completion(self._remove(chunks))
            raise
        return await self._commit(upload, chunks, body, started_at) if chunks else upload

    async def _check_type(self, upload: UploadState, body: RequestBodyReader) -> None:
        """Refuses a file that is no video, by its first bytes. When too few have arrived, it is checked at the end."""
        head = await body.peek(HEAD_BYTES)
        if len(head) >= HEAD_BYTES or (len(head) == upload.size and not body.was_disconnected):
            await self._sniff(upload, head)

    async def _check_stored_type(self, upload: UploadState, last: Sequence[Chunk] = ()) -> None:
        chunks = [*await resumable_uploads.chunks_of(self._database, upload.id), *last]
        if not chunks or chunks[0].size >= HEAD_BYTES:
            return
        head = bytearray()
        for chunk in chunks:
            async for block in self._objects.read(chunk.object_key, 0, HEAD_BYTES - len(head)):
                head += block
            if len(head) >= HEAD_BYTES:
                break
        await self._sniff(upload, bytes(head))

    async def _sniff(self, upload: UploadState, head: bytes) -> None:
        try:
            sniff(head)
        except CatalogueError:
            await resumable_uploads.discard(self._database, upload.user_id, upload.id)
            raise

    async def _store(self, upload: UploadState, start: int, body: RequestBodyReader) -> Chunk:
        max_bytes = self._policy.max_bytes if upload.size is None else upload.size
        if start >= max_bytes:
            raise CatalogueError("too_large", f"The upload has {max_bytes} bytes; the request brings more.")
        key, size = chunk_key(upload.id, start), min(CHUNK_BYTES, max_bytes - start)
        async with self._admission.admit_chunk(size, announced=upload.size is not None):
            stored = await self._objects.put(key, _blocks_of_chunk(body, size))
        return Chunk(start, stored.size, stored.sha256, key)

    async def _commit(
        self, upload: UploadState, chunks: Sequence[Chunk], body: RequestBodyReader, started_at: float
    ) -> UploadState:
        """started_at: when the first byte of the chunks arrived, by the monotonic clock."""
        end = chunks[-1].start + chunks[-1].size
        try:
            if time.monotonic() - started_at > MAX_UNCOMMITTED_SECONDS:
                raise request_timeout_error("The service was stopped, or its store was away, while the bytes arrived.")
            if end != upload.size:
                return await self._add_chunks(upload, chunks, end)
            if await body.has_more():
                raise CatalogueError("too_large", f"The upload has {end} bytes; the request brings more.")
            await self._check_stored_type(upload, chunks)
            await self._accept(upload, UploadEnd(upload, tuple(chunks), end))
        except Exception as error:
            # After an outage it is unknown whether the chunks were committed. Maintenance finds orphaned ones.
            if not is_outage(error):
                await run_to_completion(self._remove(chunks))
            if isinstance(error, CatalogueError) and error.code == "upload_conflict":
                # When the upload was ended meanwhile, this raises `upload_gone` instead.
                await resumable_uploads.find(self._database, upload.user_id, upload.id)
            raise
        return await resumable_uploads.find(self._database, upload.user_id, upload.id)

    async def _add_chunks(self, upload: UploadState, chunks: Sequence[Chunk], end: int) -> UploadState:
        """Commits chunks that do not complete the upload."""
        async with self._database.begin() as connection:
            if upload.size is None:
                # The quota was not taken at the creation, because the size was deferred.
                allowances = await quotas.lock_allowances(connection, [upload.user_id], self._quotas)
                allowances[upload.user_id].check(files=0, size=end - upload.received)
            expiry = self._policy.expiry_seconds
            return await resumable_uploads.add_chunks(connection, upload, chunks, expiry_seconds=expiry)

    async def _accept(self, upload: UploadState, end: UploadEnd) -> None:
        """Commits the last chunks and the video in one transaction."""
        await self._group_commit.accept(AcceptRequest([_accepted_upload(upload, end.size)], end=end))

    async def _remove(self, chunks: Sequence[Chunk]) -> None:
        """Deletes objects that will not be committed. Maintenance finds those that can't be deleted now."""
        for chunk in chunks:
            with suppress(CatalogueError):
                await self._objects.delete(chunk.object_key)


async def _blocks_of_chunk(body: RequestBodyReader, size: int) -> AsyncGenerator[bytes, None]:
    """Yields at most `size` bytes, and no more than arrive in CHUNK_SECONDS, unless those are few."""
    ends_at, count = time.monotonic() + CHUNK_SECONDS, 0
    async with aclosing(body.read(size)) as blocks:
        async for block in blocks:
            yield block
            count += len(block)
            if count >= resumable_uploads.SMALL_CHUNK_BYTES and time.monotonic() >= ends_at:
                return


def _accepted_upload(upload: UploadState, size: int) -> Upload:
    origin = current_origin()
    return Upload(
        user_id=upload.user_id,
        video_id=upload.id,
        extraction_id=uuid7(),
        task_id=uuid7(),
        filename=upload.filename,
        size=size,
        sha256=None,
        object_key=resumable_uploads.object_key_of(upload.id),
        spec=upload.spec,
        request_id=origin.request_id,
        traceparent=origin.traceparent,
    )

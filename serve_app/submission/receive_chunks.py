"""Receives the bytes of an upload by tus: a request body of any size becomes chunk objects while it arrives.

A connection that is cut keeps what has arrived: the chunk that was being written ends there and is committed. With a
checksum the request is all or nothing, because tus demands it. A client that is too slow is told so, and what has
arrived is kept likewise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
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
from db.values.error_catalogue import CatalogueError
from db.values.file_type import HEAD_BYTES, sniff
from serve_app.http.request_body_reader import RequestBodyReader
from serve_app.http.run_to_completion import run_to_completion
from serve_app.http.slow_clients import too_slow
from serve_app.http.tus_headers import Checksum
from serve_app.submission.admission_control import AdmissionControl
from serve_app.submission.group_commit import AcceptRequest, GroupCommit, UploadEnd

CHUNK_BYTES = 16 << 20
"""The largest chunk object. A replica that dies loses at most the one that it is writing."""
ROWLESS_SECONDS = 12 * 3600.0
"""From its first byte on, a chunk gets its row within this time, or never: maintenance takes an object that has none
after a day for garbage (`actors.maintenance.orphan_collector`). A request with a checksum adds its rows at its end."""


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """max_bytes: of one video. max_request_bytes: of one request; None for any. expiry_seconds: an upload that gets no
    byte for so long is discarded.
    """

    max_bytes: int
    max_request_bytes: int | None
    expiry_seconds: float


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
        """Takes the bytes of a request, from the upload's offset on, and returns the upload as it is then committed.

        Raises CatalogueError `upload_conflict`, `chunk_checksum_mismatch`, `too_large`, those of the object store and
        of accepting; of `sniff`, and then the upload is discarded; `request_timeout` after a slow body. What was
        committed before the error stays.
        """
        body = (
            RequestBodyReader(blocks)
            if checksum is None
            else RequestBodyReader(blocks, checksum.hasher(), ROWLESS_SECONDS)
        )
        receiving = asyncio.ensure_future(self._receive(upload, body, checksum))
        try:
            return await asyncio.shield(receiving)
        except asyncio.CancelledError:
            # Serve cancels the request of a client that went away: what has arrived is still committed.
            body.cut()
            with suppress(CatalogueError):
                await run_to_completion(receiving)
            raise
        finally:
            await body.close()

    async def fix_size(self, upload: UploadState, size: int) -> UploadState:
        """Fixes a size that was deferred. Accepts the video when all its bytes are there.

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
            limits, expiry = self._quotas, self._policy.expiry_seconds
            usage = (await quotas.lock_usage(connection, [upload.user_id], limits))[upload.user_id]
            quotas.check(limits, usage, files=0, size=size - upload.received)
            await self._admission.announce(connection, size - upload.received)
            return await resumable_uploads.set_size(connection, upload, size, expiry_seconds=expiry)

    async def _receive(self, upload: UploadState, body: RequestBodyReader, checksum: Checksum | None) -> UploadState:
        if upload.received == 0:
            await self._check_type(upload, body)
        if checksum is not None:
            return await self._receive_checked(upload, body, checksum)
        while await body.has_more():
            started = time.monotonic()
            chunk = await self._store(upload, upload.received, body)
            upload = await self._commit(upload, [chunk], body, started)
        if body.slowness is not None and not upload.is_complete:
            raise body.slowness
        return upload

    async def _receive_checked(self, upload: UploadState, body: RequestBodyReader, checksum: Checksum) -> UploadState:
        chunks, start, started = list[Chunk](), upload.received, time.monotonic()
        try:
            while await body.has_more():
                chunks.append(await self._store(upload, start, body))
                start += chunks[-1].size
            if body.was_cut:
                raise body.slowness or ClientDisconnect
            if body.digest() != checksum.digest:
                raise CatalogueError("chunk_checksum_mismatch")
        except BaseException:
            await run_to_completion(self._remove(chunks))
            raise
        return await self._commit(upload, chunks, body, started) if chunks else upload

    async def _check_type(self, upload: UploadState, body: RequestBodyReader) -> None:
        """Refuses what is no video by its first bytes. Fewer than it takes to tell are looked at again at the end."""
        head = await body.first_bytes(HEAD_BYTES)
        if len(head) >= HEAD_BYTES or (len(head) == upload.size and not body.was_cut):
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
        most = self._policy.max_bytes if upload.size is None else upload.size
        if start >= most:
            raise CatalogueError("too_large", f"The upload has {most} bytes; the request brings more.")
        key, size = chunk_key(upload.id, start), min(CHUNK_BYTES, most - start)
        async with self._admission.admit_chunk(size, announced=upload.size is not None):
            stored = await self._objects.put(key, body.take(size))
        return Chunk(start, stored.size, stored.sha256, key)

    async def _commit(
        self, upload: UploadState, chunks: Sequence[Chunk], body: RequestBodyReader, started: float
    ) -> UploadState:
        """started: when the first of the chunks was begun, by the monotonic clock."""
        end = chunks[-1].start + chunks[-1].size
        try:
            if time.monotonic() - started > ROWLESS_SECONDS:
                raise too_slow("The service was stopped, or its store was away, while the bytes arrived.")
            if end != upload.size:
                return await self._add(upload, chunks, end)
            if await body.has_more():
                raise CatalogueError("too_large", f"The upload has {end} bytes; the request brings more.")
            await self._check_stored_type(upload, chunks)
            await self._accept(upload, UploadEnd(upload, tuple(chunks), end))
        except Exception as error:
            # After an outage nobody knows whether the chunks were committed; orphaned ones are found by maintenance.
            if not is_outage(error):
                await run_to_completion(self._remove(chunks))
            if isinstance(error, CatalogueError) and error.code == "upload_conflict":
                # Tells a client whose upload was ended meanwhile that it is gone.
                await resumable_uploads.find(self._database, upload.user_id, upload.id)
            raise
        return await resumable_uploads.find(self._database, upload.user_id, upload.id)

    async def _add(self, upload: UploadState, chunks: Sequence[Chunk], end: int) -> UploadState:
        """Commits chunks after which more are expected."""
        async with self._database.begin() as connection:
            if upload.size is None:
                # The quota was not taken at the creation, because nobody knew the size.
                usage = (await quotas.lock_usage(connection, [upload.user_id], self._quotas))[upload.user_id]
                quotas.check(self._quotas, usage, files=0, size=end - upload.received)
            expiry = self._policy.expiry_seconds
            return await resumable_uploads.add_chunks(connection, upload, chunks, expiry_seconds=expiry)

    async def _accept(self, upload: UploadState, end: UploadEnd) -> None:
        """Commits the last chunks and the video in one transaction."""
        await self._group_commit.accept(AcceptRequest([_accepted(upload, end.size)], end=end))

    async def _remove(self, chunks: Sequence[Chunk]) -> None:
        """Deletes objects that will not be committed. What can't be deleted now is found by maintenance."""
        for chunk in chunks:
            with suppress(CatalogueError):
                await self._objects.delete(chunk.object_key)


def _accepted(upload: UploadState, size: int) -> Upload:
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
    )

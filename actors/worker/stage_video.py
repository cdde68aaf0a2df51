"""Brings a video's bytes to this machine as one file, and checks them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors.engine.checksummed_json import ChecksumMismatchError, verify_file
from actors.worker.worker_deps import WorkerDeps
from db.acceptance import resumable_uploads
from db.acceptance.resumable_uploads import Chunk, is_chunked
from db.connection import is_outage
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from db.queue.task_queue import Claim
from db.values.error_catalogue import CatalogueError


class PromisedChecksumError(Exception):
    """The bytes are not those whose SHA-256 the client promised. The message is for the video's owner."""


async def stage_video(claim: Claim, deps: WorkerDeps, into: Path) -> Path:
    """Returns a local file with the video's bytes: the store's own, or a copy at `into`.

    The SHA-256 of an upload by tus is computed here, the first time that its video is staged. Raises
    PromisedChecksumError, ObjectNotFound, OSError, LeaseLost, CatalogueError of fault service.
    """
    own_file = None if is_chunked(claim.object_key) else deps.objects.local_path(claim.object_key)
    if own_file is not None:
        await deps.objects.size(claim.object_key)
        if not await _is_verified(own_file, claim.sha256):
            raise _other_bytes()
        return own_file
    async with deps.staging_cache.fetching(claim.sha256 or str(claim.video_id)):
        if claim.sha256 is not None and await _take_copy(claim.sha256, deps, into):
            return into
        return await _fetch(claim, deps, into)


async def _take_copy(sha256: str, deps: WorkerDeps, into: Path) -> bool:
    if not await asyncio.to_thread(deps.staging_cache.take, sha256, into):
        return False
    if await _is_verified(into, sha256):
        return True
    await asyncio.to_thread(deps.staging_cache.drop, sha256)
    await asyncio.to_thread(into.unlink)
    return False


async def _fetch(claim: Claim, deps: WorkerDeps, into: Path) -> Path:
    """Fetches the video and keeps a copy for later tasks."""
    source, sha256 = into, claim.sha256
    if is_chunked(claim.object_key):
        sha256 = await _fetch_chunks(claim, deps, into)
    else:
        await asyncio.to_thread(deps.staging_cache.make_room, await deps.objects.size(claim.object_key))
        source = await deps.objects.fetch(claim.object_key, into)
        if not await _is_verified(source, sha256):
            raise _other_bytes()
    if sha256 is not None:
        await asyncio.to_thread(deps.staging_cache.add, sha256, source)
    return source


async def _fetch_chunks(claim: Claim, deps: WorkerDeps, into: Path) -> str:
    """Returns the SHA-256 of the whole."""
    try:
        content = await resumable_uploads.content_of(deps.database, claim.video_id)
        await asyncio.to_thread(deps.staging_cache.make_room, sum(chunk.size for chunk in content.chunks))
        sha256 = await _join(deps.objects, content.chunks, into)
        if claim.sha256 is not None and sha256 != claim.sha256:
            raise _other_bytes()
        if content.sha256 is not None and sha256 != content.sha256:
            raise PromisedChecksumError(f"The upload's SHA-256 was to be {content.sha256}; its bytes have {sha256}.")
        if claim.sha256 is None:
            await task_queue.record_sha256(deps.database, claim.lease, sha256)
    except Exception as error:
        if is_outage(error):
            raise CatalogueError("unavailable", "The database went away while the video was fetched.") from error
        raise
    return sha256


async def _is_verified(path: Path, sha256: str | None) -> bool:
    """Whether a file has the digest, if one is known."""
    if sha256 is None:
        return True
    try:
        await asyncio.to_thread(verify_file, path, sha256)
    except ChecksumMismatchError:
        return False
    return True


async def _join(objects: ObjectStore, chunks: Sequence[Chunk], into: Path) -> str:
    """Writes the chunks one after the other; returns the SHA-256 of the whole."""
    whole = hashlib.sha256()
    with await asyncio.to_thread(into.open, "wb") as file:
        for chunk in chunks:
            digest = hashlib.sha256()
            async for block in objects.read(chunk.object_key):
                await asyncio.to_thread(_append, file, block, (whole, digest))
            if digest.hexdigest() != chunk.sha256:
                raise _other_bytes()
    return whole.hexdigest()


def _append(file: Any, block: bytes, digests: Sequence[Any]) -> None:
    file.write(block)
    for digest in digests:
        digest.update(block)


def _other_bytes() -> CatalogueError:
    # Perhaps only this read was wrong: it counts against the store, and is tried again.
    return CatalogueError("unavailable", "The store gave other bytes than were accepted.")

"""Brings a video's bytes to this machine as one file, and checks them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
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


class DeclaredChecksumError(Exception):
    """The bytes have another SHA-256 than the client declared. The message is for the video's owner."""


@dataclass(frozen=True, slots=True)
class StagedVideo:
    """A local file with a video's bytes. sha256: its digest, if it is known."""

    path: Path
    sha256: str | None


async def stage_video(claim: Claim, deps: WorkerDeps, target: Path) -> StagedVideo:
    """Returns a local file with the video's bytes: the file of the store itself, or a copy at `target`.

    The SHA-256 of an upload by tus is computed here, when its video is staged for the first time. Raises
    DeclaredChecksumError, ObjectNotFound, OSError, LeaseLost, CatalogueError of fault service.
    """
    store_file = None if is_chunked(claim.object_key) else deps.objects.local_path(claim.object_key)
    if store_file is not None:
        await deps.objects.size(claim.object_key)
        if not await _is_verified(store_file, claim.sha256):
            raise _wrong_bytes_error()
        return StagedVideo(store_file, claim.sha256)
    async with deps.staging_cache.fetch_lock(claim.sha256 or str(claim.video_id)):
        if claim.sha256 is not None and await _link_cached_copy(claim.sha256, deps, target):
            return StagedVideo(target, claim.sha256)
        return await _fetch(claim, deps, target)


async def _link_cached_copy(sha256: str, deps: WorkerDeps, target: Path) -> bool:
    if not await asyncio.to_thread(deps.staging_cache.link, sha256, target):
        return False
    if await _is_verified(target, sha256):
        return True
    await asyncio.to_thread(deps.staging_cache.remove, sha256)
    await asyncio.to_thread(target.unlink)
    return False


async def _fetch(claim: Claim, deps: WorkerDeps, target: Path) -> StagedVideo:
    """Fetches the video and adds it to the cache, for later tasks."""
    source, sha256 = target, claim.sha256
    if is_chunked(claim.object_key):
        sha256 = await _fetch_chunks(claim, deps, target)
    else:
        await asyncio.to_thread(deps.staging_cache.make_room, await deps.objects.size(claim.object_key))
        source = await deps.objects.fetch(claim.object_key, target)
        if not await _is_verified(source, sha256):
            raise _wrong_bytes_error()
    if sha256 is not None:
        await asyncio.to_thread(deps.staging_cache.add, sha256, source)
    return StagedVideo(source, sha256)


async def _fetch_chunks(claim: Claim, deps: WorkerDeps, target: Path) -> str:
    """Fetches the chunks of the video into one file. Returns its SHA-256."""
    try:
        content = await resumable_uploads.content_of(deps.database, claim.video_id)
        await asyncio.to_thread(deps.staging_cache.make_room, sum(chunk.size for chunk in content.chunks))
        sha256 = await _join_chunks(deps.objects, content.chunks, target)
        if claim.sha256 is not None and sha256 != claim.sha256:
            raise _wrong_bytes_error()
        if content.sha256 is not None and sha256 != content.sha256:
            raise DeclaredChecksumError(f"The upload declared the SHA-256 {content.sha256}; its bytes have {sha256}.")
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


async def _join_chunks(objects: ObjectStore, chunks: Sequence[Chunk], target: Path) -> str:
    """Writes the chunks into one file, in their order. Returns its SHA-256."""
    whole = hashlib.sha256()
    with await asyncio.to_thread(target.open, "wb") as file:
        for chunk in chunks:
            digest = hashlib.sha256()
            async for block in objects.read(chunk.object_key):
                await asyncio.to_thread(_append, file, block, (whole, digest))
            if digest.hexdigest() != chunk.sha256:
                raise _wrong_bytes_error()
    return whole.hexdigest()


def _append(file: Any, block: bytes, digests: Sequence[Any]) -> None:
    file.write(block)
    for digest in digests:
        digest.update(block)


def _wrong_bytes_error() -> CatalogueError:
    # Perhaps only this read failed: it counts as an error of the store, and is tried again.
    return CatalogueError("unavailable", "The store gave other bytes than were accepted.")

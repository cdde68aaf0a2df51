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
    if is_chunked(claim.object_key):
        return await _stage_chunked(claim, deps, into)
    source = await deps.objects.fetch(claim.object_key, into)
    if claim.sha256 is not None:
        try:
            await asyncio.to_thread(verify_file, source, claim.sha256)
        except ChecksumMismatchError as error:
            raise _other_bytes() from error
    return source


async def _stage_chunked(claim: Claim, deps: WorkerDeps, into: Path) -> Path:
    try:
        content = await resumable_uploads.content_of(deps.database, claim.video_id)
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
    return into


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

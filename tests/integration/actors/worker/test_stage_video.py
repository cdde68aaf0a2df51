"""A video in chunks: it is joined and checked, and its result equals that of the same bytes in one object."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from db.acceptance import resumable_uploads
from db.object_store.folder_store import FolderStore
from db.queue import task_queue
from tests.support.clients.api_client import one_chunk
from tests.support.decoding_children import start_child
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted
from tests.support.state.worker_setup import ALL_FRAMES, submit_in_chunks, submit_video
from tests.support.videos.clips import ClipByName


async def run_next(worker_deps: WorkerDeps) -> TaskOutcome:
    (claim,) = await task_queue.claim(worker_deps.database, worker="w1")
    return await perform(claim, await start_child(), worker_deps, asyncio.Event(), lambda: None)


async def archive_of(database: AsyncEngine, store: FolderStore, accepted: Accepted) -> bytes:
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert extraction.status == "succeeded"
    return b"".join([block async for block in store.read(f"{extraction.result_key}/frames.zip")])


async def sha256_of(database: AsyncEngine, accepted: Accepted) -> str | None:
    row = await database_rows.fetch_one(database, "SELECT sha256 FROM videos WHERE id = :id", id=accepted.video_id)
    sha256: str | None = row.sha256
    return sha256


async def test_chunks_give_the_same_archive_as_one_object_and_the_digest_is_recorded(
    database: AsyncEngine, store: FolderStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    path, _ = clips("h264_b_frames")
    whole = await submit_video(database, store, path, ALL_FRAMES)
    assert await run_next(worker_deps) is TaskOutcome.PUBLISHED
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    in_chunks = await submit_in_chunks(database, store, path, spec=ALL_FRAMES, sha256=digest)
    assert await sha256_of(database, in_chunks) is None
    assert await run_next(worker_deps) is TaskOutcome.PUBLISHED
    assert await archive_of(database, store, in_chunks) == await archive_of(database, store, whole)
    assert await sha256_of(database, in_chunks) == digest
    assert list(worker_deps.scratch.iterdir()) == []


async def test_video_whose_digest_is_not_the_clients_fails_after_one_try(
    database: AsyncEngine, store: FolderStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    path, _ = clips("h264")
    accepted = await submit_in_chunks(database, store, path, sha256="ab" * 32)
    assert await run_next(worker_deps) is TaskOutcome.FAILED
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.error_code) == ("failed", "checksum_mismatch")
    assert hashlib.sha256(path.read_bytes()).hexdigest() in extraction.error_detail
    assert await sha256_of(database, accepted) is None


async def test_altered_chunk_is_a_service_error_and_the_task_is_retried(
    database: AsyncEngine, store: FolderStore, worker_deps: WorkerDeps, clips: ClipByName, tmp_path: Path
) -> None:
    path, _ = clips("h264")
    accepted = await submit_in_chunks(database, store, path)
    chunk = (await resumable_uploads.chunks_of(database, accepted.video_id))[1]
    content = b"".join([block async for block in store.read(chunk.object_key)])
    await store.delete(chunk.object_key)
    await store.put(chunk.object_key, one_chunk(bytes([content[0] ^ 1]) + content[1:]))
    assert await run_next(worker_deps) is TaskOutcome.RETRIED
    task = await database_rows.fetch_one(database, "SELECT crashes, service_errors FROM tasks")
    assert tuple(task) == (0, 1)
    await store.delete(chunk.object_key)
    await store.put(chunk.object_key, one_chunk(content))
    async with database.begin() as connection:
        await connection.execute(text("UPDATE tasks SET ready_at = now()"))
    assert await run_next(worker_deps) is TaskOutcome.PUBLISHED


async def test_missing_chunk_is_a_service_error_and_no_crash(
    database: AsyncEngine, store: FolderStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    path, _ = clips("h264")
    accepted = await submit_in_chunks(database, store, path)
    chunk = (await resumable_uploads.chunks_of(database, accepted.video_id))[0]
    await store.delete(chunk.object_key)
    assert await run_next(worker_deps) is TaskOutcome.RETRIED
    assert tuple(await database_rows.fetch_one(database, "SELECT crashes, service_errors FROM tasks")) == (0, 1)


@pytest.mark.parametrize("in_chunks", [False, True])
async def test_same_bytes_again_end_with_the_stored_result_and_nothing_is_decoded(
    database: AsyncEngine, store: FolderStore, worker_deps: WorkerDeps, clips: ClipByName, in_chunks: bool
) -> None:
    path, _ = clips("h264")
    first = await submit_video(database, store, path, ALL_FRAMES)
    assert await run_next(worker_deps) is TaskOutcome.PUBLISHED
    if in_chunks:
        second = await submit_in_chunks(database, store, path, spec=ALL_FRAMES, user_id=first.user_id)
    else:
        second = await submit_video(database, store, path, ALL_FRAMES, user_id=first.user_id)
    (claim,) = await task_queue.claim(database, worker="w1")
    child = await start_child()
    assert await perform(claim, child, worker_deps, asyncio.Event(), lambda: None) is TaskOutcome.PUBLISHED
    extraction = await database_rows.fetch_extraction(database, second.extraction_id)
    assert (extraction.status, extraction.reused) == ("succeeded", True)
    assert await archive_of(database, store, second) == await archive_of(database, store, first)
    video = await database_rows.fetch_one(database, "SELECT media FROM videos WHERE id = :id", id=second.video_id)
    assert video.media["codec"] == "h264"
    assert len(await store.keys(f"results/{second.extraction_id}")) == 0

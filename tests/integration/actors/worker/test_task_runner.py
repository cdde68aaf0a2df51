"""One claimed task with a real child, database and object store: every outcome."""

import asyncio
import json
import os
import signal
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from tests.support.decoding_children import start_child
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted
from tests.support.state.worker_setup import ALL_FRAMES, claim_task, run_next_task, submit_video
from tests.support.videos.clips import ClipByName, read_image, truncated_copy, write_audio_only, write_text_file
from tests.support.wait_conditions import process_ends


async def error_of(database: AsyncEngine, accepted: Accepted) -> tuple[str, str | None]:
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    return extraction.status, extraction.error_code


async def test_video_gives_an_archive_with_the_frames_of_its_manifest(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName, tmp_path: Path
) -> None:
    path, truth = clips("h264_b_frames")
    accepted = await submit_video(database, store, path, ALL_FRAMES)
    assert await run_next_task(worker_deps) is TaskOutcome.PUBLISHED
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.result_frames) == ("succeeded", len(truth.shown))
    archive = await store.fetch(f"{extraction.result_key}/frames.zip", tmp_path / "copy")
    manifest = json.loads(b"".join([c async for c in store.read(f"{extraction.result_key}/manifest.json")]))
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "images")
    report = json.loads(b"".join([c async for c in store.read(f"{extraction.result_key}/report.json")]))
    assert (report["attempts"], report["sequential"]) == (1, False)
    for name in ("sheet.jpg", "sheet.vtt", "manifest.csv"):
        assert await store.size(f"{extraction.result_key}/{name}") > 0
    numbers = [read_image(tmp_path / "images" / frame["name"]) for frame in manifest["frames"]]
    assert len(numbers) == len(truth.shown)
    assert list((worker_deps.scratch).iterdir()) == []


async def test_plan_writes_the_media_facts(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    path, truth = clips("h264")
    accepted = await submit_video(database, store, path)
    await run_next_task(worker_deps)
    video = await database_rows.fetch_one(database, "SELECT media FROM videos WHERE id = :id", id=accepted.video_id)
    assert video.media["codec"] == "h264"
    assert video.media["frames"] == len(truth.shown)


def make_audio_only(path: Path) -> Path:
    write_audio_only(path)
    return path


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda folder, clip: make_audio_only(folder / "sound.mp4"), "no_video_stream"),
        (lambda folder, clip: truncated_copy(clip), "unreadable_container"),
    ],
    ids=["audio only", "truncated"],
)
async def test_undecodable_file_fails_at_once_with_its_code(
    database: AsyncEngine,
    store: ObjectStore,
    worker_deps: WorkerDeps,
    clips: ClipByName,
    tmp_path: Path,
    make: Callable[[Path, Path], Path],
    code: str,
) -> None:
    path = make(tmp_path, clips("h264")[0])
    accepted = await submit_video(database, store, path)
    assert await run_next_task(worker_deps) is TaskOutcome.FAILED
    assert await error_of(database, accepted) == ("failed", code)
    assert (await database_rows.fetch_task(database, accepted.task_id)).crashes == 0


async def test_empty_selection_fails_with_fault_request(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0], '{"range": {"start": 1000}}')
    assert await run_next_task(worker_deps) is TaskOutcome.FAILED
    assert await error_of(database, accepted) == ("failed", "empty_selection")


async def test_child_crash_is_counted_and_the_task_retried(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0])
    child = await start_child()
    claim = await claim_task(worker_deps)
    os.kill(child.pid, signal.SIGSEGV)
    assert await perform(claim, child, worker_deps, asyncio.Event(), lambda: None) is TaskOutcome.RETRIED
    assert (await database_rows.fetch_task(database, accepted.task_id)).crashes == 1
    assert await run_next_task(worker_deps) is TaskOutcome.PUBLISHED


async def test_non_video_never_reaches_a_demuxer(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, tmp_path: Path
) -> None:
    write_text_file(tmp_path / "text.mp4")
    accepted = await submit_video(database, store, tmp_path / "text.mp4")
    assert await run_next_task(worker_deps) is TaskOutcome.FAILED
    assert await error_of(database, accepted) == ("failed", "not_a_video")


async def test_lost_lease_kills_the_child_and_leaves_no_objects(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    fast_deps = replace(worker_deps, heartbeat_seconds=0.1)
    accepted = await submit_video(database, store, clips("h264")[0], ALL_FRAMES)
    child = await start_child()
    claim = await claim_task(fast_deps)
    os.kill(child.pid, signal.SIGSTOP)
    performing = asyncio.create_task(perform(claim, child, fast_deps, asyncio.Event(), lambda: None))
    async with database.begin() as connection:
        assert await task_queue.cancel(connection, accepted.extraction_id)
    assert await asyncio.wait_for(performing, 60) is TaskOutcome.LOST
    assert process_ends(child.pid)
    assert await store.keys("results") == []
    assert list(worker_deps.scratch.iterdir()) == []


async def test_draining_worker_releases_its_task_and_counts_nothing(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0])
    child = await start_child()
    claim = await claim_task(worker_deps)
    os.kill(child.pid, signal.SIGSTOP)
    stop = asyncio.Event()
    stop.set()
    assert await perform(claim, child, worker_deps, stop, lambda: None) is TaskOutcome.RELEASED
    task = await database_rows.fetch_task(database, accepted.task_id)
    assert (task.state, task.crashes, task.losses, task.service_errors) == ("ready", 0, 0, 0)
    assert process_ends(child.pid)

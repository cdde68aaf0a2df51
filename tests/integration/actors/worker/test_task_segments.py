"""A long video in segments: the result equals that of one task, and a failure repeats one segment only."""

import asyncio
import itertools
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.engine.extract import extract
from actors.extraction_types import PLAN_FILE, SEGMENT_REPORT, engine_name
from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from actors.worker.worker_loop import Worker
from db.cache import Cache
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from db.values.frame_spec import parse
from tests.support.decoding_children import start_child
from tests.support.state import database_rows
from tests.support.state.worker_setup import ALL_FRAMES, run_next_task, submit_video
from tests.support.videos.clips import ClipByName
from tests.support.wait_conditions import process_ends, wait_until

SPLIT_SECONDS = 1e-6
"""Seconds. All work takes longer, so every video is split."""


@pytest.fixture
def splitting_deps(worker_deps: WorkerDeps) -> WorkerDeps:
    return replace(worker_deps, segment_seconds=SPLIT_SECONDS)


async def tasks_of(database: AsyncEngine, extraction_id: UUID) -> Sequence[Row[Any]]:
    statement = text("SELECT * FROM tasks WHERE extraction_id = :id ORDER BY id")
    async with database.connect() as connection:
        return (await connection.execute(statement, {"id": extraction_id})).all()


async def read(store: ObjectStore, key: str) -> bytes:
    return b"".join([chunk async for chunk in store.read(key)])


async def perform_all_tasks(worker_deps: WorkerDeps) -> list[TaskOutcome]:
    outcomes = []
    while claims := await task_queue.claim(worker_deps.database, worker="w1"):
        child = await start_child()
        outcomes.append(await perform(claims[0], child, worker_deps, asyncio.Event(), lambda: None))
    return outcomes


async def test_long_video_in_segments_gives_the_same_archive(
    database: AsyncEngine, store: ObjectStore, splitting_deps: WorkerDeps, clips: ClipByName, tmp_path: Path
) -> None:
    path, truth = clips("h264_b_frames")
    accepted = await submit_video(database, store, path, ALL_FRAMES)
    assert await run_next_task(splitting_deps) is TaskOutcome.SPLIT
    after_split = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (after_split.status, after_split.frames_total) == ("running", len(truth.shown))
    outcomes = await perform_all_tasks(splitting_deps)
    assert len(outcomes) >= 3
    assert set(outcomes) == {TaskOutcome.PUBLISHED}
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.frames_done) == ("succeeded", len(truth.shown))
    whole = tmp_path / "whole"
    whole.mkdir()
    assert extract(path, parse(ALL_FRAMES), whole).sha256 == extraction.result_sha256
    for name in ("frames.zip", "manifest.json", "manifest.csv", "sheet.jpg", "sheet.vtt"):
        assert await read(store, f"{extraction.result_key}/{name}") == (whole / name).read_bytes()
    report = json.loads(await read(store, f"{extraction.result_key}/report.json"))
    assert (report["attempts"], len(report["segments"])) == (1, len(outcomes) - 1)
    assert list(splitting_deps.scratch.iterdir()) == []


async def test_crash_repeats_only_its_own_segment(
    database: AsyncEngine, store: ObjectStore, splitting_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0], ALL_FRAMES)
    await run_next_task(splitting_deps)
    child = await start_child()
    (claim,) = await task_queue.claim(database, worker="w1")
    os.kill(child.pid, signal.SIGSEGV)
    assert await perform(claim, child, splitting_deps, asyncio.Event(), lambda: None) is TaskOutcome.RETRIED
    assert set(await perform_all_tasks(splitting_deps)) == {TaskOutcome.PUBLISHED}
    tasks = await tasks_of(database, accepted.extraction_id)
    assert {task.id: task.attempt for task in tasks if task.attempt != 1} == {claim.lease.task_id: 2}
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.attempt) == ("succeeded", 2)
    report = json.loads(await read(store, f"{extraction.result_key}/report.json"))
    assert report["attempts"] == 2


async def test_altered_plan_object_is_a_service_error(
    database: AsyncEngine, store: ObjectStore, splitting_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0], ALL_FRAMES)
    await run_next_task(splitting_deps)
    (claim,) = await task_queue.claim(database, worker="w1")
    plan = await store.fetch(f"{claim.plan_key}/{PLAN_FILE}", splitting_deps.scratch / "unused")
    content = plan.read_bytes()
    plan.write_bytes(content.replace(b"0", b"1", 1))
    outcome = await perform(claim, await start_child(), splitting_deps, asyncio.Event(), lambda: None)
    assert outcome is TaskOutcome.RETRIED
    task = await database_rows.fetch_task(database, claim.lease.task_id)
    assert (task.state, task.crashes, task.service_errors) == ("ready", 0, 1)
    plan.write_bytes(content)
    await database_rows.execute(database, "UPDATE tasks SET ready_at = now() WHERE state = 'ready'")
    assert set(await perform_all_tasks(splitting_deps)) == {TaskOutcome.PUBLISHED}
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "succeeded"


async def test_cancel_stops_the_decoding_of_segments_within_two_heartbeats(
    database: AsyncEngine,
    store: ObjectStore,
    splitting_deps: WorkerDeps,
    clips: ClipByName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heartbeat, beats = task_queue.heartbeat, list[None]()

    async def count_and_send(*arguments: Any, **options: Any) -> None:
        beats.append(None)
        await heartbeat(*arguments, **options)

    monkeypatch.setattr(task_queue, "heartbeat", count_and_send)
    accepted = await submit_video(database, store, clips("h264")[0], ALL_FRAMES)
    await run_next_task(splitting_deps)
    fast_deps = replace(splitting_deps, heartbeat_seconds=0.5)
    child = await start_child()
    (claim,) = await task_queue.claim(database, worker="w1")
    os.kill(child.pid, signal.SIGSTOP)
    performing = asyncio.create_task(perform(claim, child, fast_deps, asyncio.Event(), lambda: None))
    async with database.begin() as connection:
        assert await task_queue.cancel(connection, accepted.extraction_id)
    beats.clear()
    assert await asyncio.wait_for(performing, 60) is TaskOutcome.LOST
    assert len(beats) <= 2
    assert process_ends(child.pid)
    assert await perform_all_tasks(fast_deps) == []


async def engines_by_object(store: ObjectStore, extraction: Row[Any]) -> dict[str, str]:
    """The engine's name in each plan and segment report of the extraction, by object key."""
    keys = await store.keys(f"results/{extraction.id}")
    return {
        key: json.loads(await read(store, key))["document"]["engine"]
        for key in keys
        if key.endswith((PLAN_FILE, SEGMENT_REPORT))
    }


@pytest.mark.parametrize(
    "segments_before", [0, 1, 99], ids=["the plan", "the plan and a segment", "the plan and all segments"]
)
async def test_extraction_begun_by_another_engine_is_replanned(
    database: AsyncEngine,
    store: ObjectStore,
    splitting_deps: WorkerDeps,
    clips: ClipByName,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    segments_before: int,
) -> None:
    path, _ = clips("h264_b_frames")
    accepted = await submit_video(database, store, path, ALL_FRAMES)
    with monkeypatch.context() as before:
        before.setattr("actors.extraction_types.ENGINE_VERSION", "before")
        assert await run_next_task(splitting_deps) is TaskOutcome.SPLIT
        segments = (await database_rows.fetch_extraction(database, accepted.extraction_id)).segments_left
        for _ in range(min(segments_before, segments)):
            assert await run_next_task(splitting_deps) is TaskOutcome.PUBLISHED
    assert await run_next_task(splitting_deps) is TaskOutcome.RETRIED
    replanned = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (replanned.status, replanned.plan_key, replanned.frames_done) == ("queued", None, 0)
    assert [(task.kind, task.state, task.crashes) for task in await tasks_of(database, replanned.id)] == [
        ("extract", "ready", 0)
    ]
    await database_rows.execute(database, "UPDATE tasks SET ready_at = now()")
    outcomes = await perform_all_tasks(splitting_deps)
    assert (outcomes[0], set(outcomes[1:])) == (TaskOutcome.SPLIT, {TaskOutcome.PUBLISHED})
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    whole = tmp_path / "whole"
    whole.mkdir()
    assert extraction.result_sha256 == extract(path, parse(ALL_FRAMES), whole).sha256
    assert extraction.result_engine == engine_name(splitting_deps.reader)
    engines = await engines_by_object(store, extraction)
    assert sorted(engines.values()).count("auto/before") == 1 + min(segments_before, segments)
    assert set(engines.values()) == {"auto/before", extraction.result_engine}
    assert (await database_rows.event_kinds(database, extraction.id)).count("replanned") == 1


async def test_two_workers_share_the_segments_of_one_video(
    database: AsyncEngine,
    store: ObjectStore,
    splitting_deps: WorkerDeps,
    clips: ClipByName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetch, both, plans = splitting_deps.objects.fetch, asyncio.Barrier(2), itertools.count()

    async def fetch_together(key: str, into: Path) -> Path:
        # One worker could do all segments before the other looks for a task.
        if key.endswith(PLAN_FILE) and next(plans) < 2:
            await both.wait()
        return await fetch(key, into)

    monkeypatch.setattr(splitting_deps.objects, "fetch", fetch_together)
    accepted = await submit_video(database, store, clips("h264_b_frames")[0], ALL_FRAMES)
    workers = [Worker(splitting_deps, Cache(None), name=name) for name in ("w1", "w2")]
    worker_runs = [asyncio.create_task(worker.run()) for worker in workers]

    async def is_done() -> bool:
        return bool((await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "succeeded")

    await wait_until(is_done)
    for worker in workers:
        worker.stop()
    await asyncio.wait_for(asyncio.gather(*worker_runs), 60)
    claims = await database_rows.fetch_one(
        database,
        "SELECT count(DISTINCT data->>'worker') AS workers FROM events WHERE extraction_id = :id AND kind = 'claimed'",
        id=accepted.extraction_id,
    )
    assert claims.workers == 2

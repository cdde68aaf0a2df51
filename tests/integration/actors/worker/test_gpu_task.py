"""The tasks of a GPU worker. Its decord is built without CUDA here: the GPU refuses every file, and PyAV decodes it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.extraction_types import GpuDecoder
from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from actors.worker.worker_loop import Worker
from db.cache import Cache
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from db.values.worker_kind import WorkerKind
from tests.support.decoding_children import start_child
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted
from tests.support.state.worker_setup import ALL_FRAMES, submit_video
from tests.support.videos.clips import ClipByName
from tests.support.wait_conditions import wait_until


@pytest.fixture
def gpu_deps(worker_deps: WorkerDeps) -> WorkerDeps:
    return replace(worker_deps, gpu=GpuDecoder(("h264",)))


async def submit_for_gpu(database: AsyncEngine, store: ObjectStore, path: Path) -> Accepted:
    accepted = await submit_video(database, store, path, ALL_FRAMES)
    await prefer_gpu(database)
    return accepted


async def prefer_gpu(database: AsyncEngine) -> None:
    await database_rows.execute(database, "UPDATE tasks SET prefers = 'gpu' WHERE state = 'ready'")


async def run_next_task(deps: WorkerDeps) -> TaskOutcome:
    (claim,) = await task_queue.claim(deps.database, worker="w1", kind=deps.kind)
    return await perform(claim, await start_child(), deps, asyncio.Event(), lambda: None)


async def extraction_of(database: AsyncEngine, accepted: Accepted) -> Row[object]:
    return await database_rows.fetch_extraction(database, accepted.extraction_id)


def test_only_a_worker_with_a_gpu_claims_as_one(worker_deps: WorkerDeps, gpu_deps: WorkerDeps) -> None:
    assert (worker_deps.kind, gpu_deps.kind) == (WorkerKind.CPU, WorkerKind.GPU)


async def test_worker_with_a_gpu_claims_its_own_work_first(
    database: AsyncEngine, store: ObjectStore, gpu_deps: WorkerDeps, clips: ClipByName
) -> None:
    other = await submit_video(database, store, clips("h264")[0])
    own = await submit_video(database, store, clips("h264")[0])
    await database_rows.execute(database, "UPDATE tasks SET prefers = 'gpu' WHERE id = :id", id=own.task_id)
    worker = Worker(gpu_deps, Cache(None), name="w1")
    worker_run = asyncio.create_task(worker.run())

    async def are_all_done() -> bool:
        return all([(await extraction_of(database, one)).status == "succeeded" for one in (own, other)])

    await wait_until(are_all_done)
    worker.stop()
    await worker_run
    first, second = [(await database_rows.fetch_task(database, one.task_id)).claimed_at for one in (own, other)]
    assert first < second


async def test_file_that_the_gpu_does_not_decode_ends_with_a_warning(
    database: AsyncEngine, store: ObjectStore, gpu_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_for_gpu(database, store, clips("h264")[0])
    assert await run_next_task(gpu_deps) is TaskOutcome.PUBLISHED
    extraction = await extraction_of(database, accepted)
    assert extraction.status == "succeeded"
    assert [warning["code"] for warning in extraction.result_warnings] == ["gpu_fallback"]


async def test_result_of_a_gpu_is_reused_on_gpus_only(
    database: AsyncEngine, store: ObjectStore, gpu_deps: WorkerDeps, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    """Its images differ from those of PyAV by their rounding."""
    accepted = await submit_for_gpu(database, store, clips("h264")[0])
    await run_next_task(gpu_deps)
    assert (await extraction_of(database, accepted)).result_engine.startswith("gpu/")

    again = await database_rows.accept_reextraction(database, accepted, await spec_of(database, accepted), "auto/3")
    await run_next_task(worker_deps)
    on_cpu = await database_rows.fetch_extraction(database, again)
    assert (on_cpu.reused, on_cpu.result_warnings) == (False, [])
    assert on_cpu.result_engine.startswith("auto/")

    again = await database_rows.accept_reextraction(database, accepted, await spec_of(database, accepted), "none/3")
    await prefer_gpu(database)
    await run_next_task(gpu_deps)
    on_gpu = await database_rows.fetch_extraction(database, again)
    assert (on_gpu.reused, [warning["code"] for warning in on_gpu.result_warnings]) == (True, ["gpu_fallback"])


async def spec_of(database: AsyncEngine, accepted: Accepted) -> str:
    spec: str = (await database_rows.fetch_extraction(database, accepted.extraction_id)).spec
    return spec


async def test_gpu_worker_gives_other_work_the_result_of_a_cpu_worker(
    database: AsyncEngine, store: ObjectStore, gpu_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0], ALL_FRAMES)
    assert await run_next_task(gpu_deps) is TaskOutcome.PUBLISHED
    extraction = await extraction_of(database, accepted)
    assert (extraction.result_engine[:5], extraction.result_warnings) == ("auto/", [])


async def test_video_that_crashed_on_the_gpu_is_decoded_by_the_processor(
    database: AsyncEngine, store: ObjectStore, gpu_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_for_gpu(database, store, clips("h264")[0])
    await database_rows.execute(database, "UPDATE tasks SET crashes = 1")
    await run_next_task(gpu_deps)
    extraction = await extraction_of(database, accepted)
    assert (extraction.result_engine[:5], extraction.result_warnings) == ("auto/", [])


async def test_long_video_that_the_gpu_does_not_decode_is_shared_out_to_cpu_workers(
    database: AsyncEngine, store: ObjectStore, gpu_deps: WorkerDeps, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_for_gpu(database, store, clips("h264")[0])
    splitting = replace(gpu_deps, gpu=GpuDecoder(("hevc",)), segment_seconds=1e-6)
    assert await run_next_task(splitting) is TaskOutcome.SPLIT
    left = await database_rows.fetch_one(
        database, "SELECT array_agg(DISTINCT prefers) AS kinds, count(*) AS tasks FROM tasks WHERE state = 'ready'"
    )
    assert left.kinds == ["cpu"]
    for _ in range(left.tasks):
        assert await run_next_task(worker_deps) is TaskOutcome.PUBLISHED
    assert await run_next_task(splitting) is TaskOutcome.PUBLISHED
    extraction = await extraction_of(database, accepted)
    assert (extraction.status, extraction.result_engine[:5]) == ("succeeded", "auto/")

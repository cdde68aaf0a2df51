"""The loop of a worker: it claims tasks, pauses when it cannot work, and gives back a claim whose response was lost."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from actors.worker.worker_deps import WorkerDeps
from actors.worker.worker_loop import Worker
from db.cache import Cache
from db.connection import open_database
from db.object_store.folder_store import FolderStore
from db.object_store.object_store import ObjectStore
from tests.faults.injection.commit_proxy import AnswerProxy
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted
from tests.support.state.worker_setup import RecordedWorkerMetrics, submit_video
from tests.support.videos.clips import ClipByName
from tests.support.wait_conditions import wait_until


async def test_worker_runs_all_tasks_and_stops_on_request(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = [await submit_video(database, store, clips(name)[0]) for name in ("h264", "h264_vfr", "hevc")]
    metrics = RecordedWorkerMetrics()
    worker = Worker(replace(worker_deps, metrics=metrics), Cache(None), name="w1")
    worker_run = asyncio.create_task(worker.run())

    async def are_all_done() -> bool:
        statuses = [(await database_rows.fetch_extraction(database, a.extraction_id)).status for a in accepted]
        return statuses == ["succeeded"] * 3

    await wait_until(are_all_done)
    worker.check()
    worker.stop()
    await asyncio.wait_for(worker_run, 60)
    frames = [(await database_rows.fetch_extraction(database, a.extraction_id)).result_frames for a in accepted]
    assert metrics.ended_tasks == [("extract", "published")] * 3
    assert sum(count for _, _, count in metrics.decodings) == sum(frames)
    assert all(0 < seconds < 60 for _, seconds, _ in metrics.decodings)
    assert len(metrics.waits) == 3
    assert all(0 <= waited < 60 for waited in metrics.waits)
    assert metrics.states == [True, False] * 3
    async with database.connect() as connection:
        leased = await connection.execute(text("SELECT count(*) FROM tasks WHERE state = 'leased'"))
        assert leased.scalar_one() == 0


async def test_worker_without_object_store_claims_nothing(
    database: AsyncEngine, worker_deps: WorkerDeps, clips: ClipByName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store = FolderStore(tmp_path / "good")
    accepted = await submit_video(database, object_store, clips("h264")[0])
    (tmp_path / "file").write_text("not a folder")
    broken = replace(worker_deps, objects=FolderStore(tmp_path / "file"))
    worker = Worker(broken, Cache(None), name="w1")
    worker_run = asyncio.create_task(worker.run())
    checked = asyncio.Event()
    check = broken.objects.check

    async def record_check() -> None:
        checked.set()
        await check()

    monkeypatch.setattr(broken.objects, "check", record_check)
    await asyncio.wait_for(checked.wait(), 60)
    worker.stop()
    await asyncio.wait_for(worker_run, 60)
    assert (await database_rows.fetch_task(database, accepted.task_id)).attempt == 0


async def test_worker_without_disk_space_claims_nothing(
    database: AsyncEngine,
    worker_deps: WorkerDeps,
    store: ObjectStore,
    clips: ClipByName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.worker.scratch_folder.DISK_RESERVE_BYTES", 1 << 60)
    monkeypatch.setattr("actors.worker.worker_loop.PAUSE_SECONDS", 0.1)
    accepted = await submit_video(database, store, clips("h264")[0])
    worker = Worker(worker_deps, Cache(None), name="w1")
    with capture_logs() as logs:
        worker_run = asyncio.create_task(worker.run())

        async def has_paused_twice() -> bool:
            return [line.get("event_name") for line in logs].count("worker.paused") > 1

        await wait_until(has_paused_twice)
        worker.stop()
        await asyncio.wait_for(worker_run, 60)
    assert (await database_rows.fetch_task(database, accepted.task_id)).attempt == 0


async def test_claim_with_a_lost_response_is_released_and_counts_nothing(
    database: AsyncEngine,
    worker_deps: WorkerDeps,
    store: ObjectStore,
    clips: ClipByName,
    server_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.worker.worker_loop.PAUSE_SECONDS", 0.1)
    accepted = await submit_video(database, store, clips("h264")[0])
    proxy, folder = AnswerProxy(Path(str(database.url.query["host"]))), server_folder / uuid7().hex[-8:]
    async with proxy.listening(folder):
        address = database.url.set(query={"host": str(folder)})
        faulty = open_database(address.render_as_string(hide_password=False), name="victim")
        worker = Worker(replace(worker_deps, database=faulty), Cache(None), name="w1")
        proxy.drop_after(0)
        worker_run = asyncio.create_task(worker.run())

        async def is_done() -> bool:
            return bool((await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "succeeded")

        await wait_until(is_done, 30)
        worker.stop()
        await asyncio.wait_for(worker_run, 60)
        await faulty.dispose()
    assert proxy.dropped == 1
    task = await database_rows.fetch_task(database, accepted.task_id)
    assert (task.attempt, task.losses, task.service_errors) == (2, 0, 0)
    assert await database_rows.event_kinds(database, accepted.extraction_id) == [
        "accepted",
        "claimed",
        "released",
        "claimed",
        "published",
    ]


@dataclass
class BusyWorker:
    """A worker whose task goes on once the store may answer."""

    worker: Worker
    run: asyncio.Task[None]
    accepted: Accepted
    store_may_answer: asyncio.Event


@pytest.fixture
async def busy(
    database: AsyncEngine,
    store: ObjectStore,
    worker_deps: WorkerDeps,
    clips: ClipByName,
    monkeypatch: pytest.MonkeyPatch,
) -> BusyWorker:
    may_answer, is_asked = asyncio.Event(), asyncio.Event()
    size = store.size

    async def wait_and_answer(key: str) -> int:
        is_asked.set()
        await may_answer.wait()
        return await size(key)

    monkeypatch.setattr(store, "size", wait_and_answer)
    accepted = await submit_video(database, store, clips("h264")[0])
    worker = Worker(replace(worker_deps, objects=store), Cache(None), name="w1")
    run = asyncio.create_task(worker.run())
    await asyncio.wait_for(is_asked.wait(), 60)
    return BusyWorker(worker, run, accepted, may_answer)


async def test_stopped_worker_finishes_its_task_within_the_drain_time(database: AsyncEngine, busy: BusyWorker) -> None:
    busy.worker.stop(60)
    busy.store_may_answer.set()
    await asyncio.wait_for(busy.run, 60)
    assert (await database_rows.fetch_extraction(database, busy.accepted.extraction_id)).status == "succeeded"


async def test_later_stop_shortens_the_drain_time(database: AsyncEngine, busy: BusyWorker) -> None:
    busy.worker.stop(60)
    await asyncio.sleep(0.1)
    assert not busy.run.done()
    busy.worker.stop()
    await asyncio.wait_for(busy.run, 60)
    kinds = await database_rows.event_kinds(database, busy.accepted.extraction_id)
    assert kinds == ["accepted", "claimed", "released"]

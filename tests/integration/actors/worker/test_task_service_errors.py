"""One claimed task while the database or the object store fails: nothing is counted against the file."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from db.connection import open_database
from db.object_store.object_keys import video_key
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from tests.support.decoding_children import start_child
from tests.support.state import database_rows
from tests.support.state.worker_setup import claim_task, run_next_task, submit_video
from tests.support.videos.clips import ClipByName
from tests.support.wait_conditions import wait_until


async def test_missing_video_object_is_a_service_error_and_no_crash(
    database: AsyncEngine, store: ObjectStore, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0])
    await store.delete(video_key(accepted.video_id))
    assert await run_next_task(worker_deps) is TaskOutcome.RETRIED
    task = await database_rows.fetch_task(database, accepted.task_id)
    assert (task.state, task.crashes, task.service_errors) == ("ready", 0, 1)


async def test_publish_with_a_lost_commit_response_counts_as_published(
    database: AsyncEngine,
    store: ObjectStore,
    worker_deps: WorkerDeps,
    clips: ClipByName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0])
    publish, calls = task_queue.publish, []

    async def lose_first_answer(*arguments: Any, **options: Any) -> None:
        await publish(*arguments, **options)
        calls.append(1)
        if len(calls) == 1:
            raise make_outage()

    monkeypatch.setattr(task_queue, "publish", lose_first_answer)
    monkeypatch.setattr("db.connection.REPEAT_FIRST_SECONDS", 0.01)
    assert await run_next_task(worker_deps) is TaskOutcome.PUBLISHED
    assert len(calls) == 2
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert await store.size(f"{extraction.result_key}/frames.zip") == extraction.result_bytes


async def test_worker_reports_liveness_while_publish_waits_for_the_database(
    database: AsyncEngine,
    store: ObjectStore,
    worker_deps: WorkerDeps,
    clips: ClipByName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await submit_video(database, store, clips("h264")[0])
    publish = task_queue.publish
    calls: list[int] = []
    liveness_reports: list[int] = []

    async def fail_four_times(*arguments: Any, **options: Any) -> None:
        calls.append(len(liveness_reports))
        if len(calls) < 5:
            raise make_outage()
        await publish(*arguments, **options)

    monkeypatch.setattr(task_queue, "publish", fail_four_times)
    monkeypatch.setattr("db.connection.REPEAT_FIRST_SECONDS", 0.01)
    child = await start_child()
    assert (
        await perform(
            await claim_task(worker_deps), child, worker_deps, asyncio.Event(), lambda: liveness_reports.append(1)
        )
        is TaskOutcome.PUBLISHED
    )
    assert all(later > earlier for earlier, later in pairwise(calls))


async def test_read_only_database_is_an_outage(
    database: AsyncEngine,
    store: ObjectStore,
    worker_deps: WorkerDeps,
    clips: ClipByName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accepted = await submit_video(database, store, clips("h264")[0])
    monkeypatch.setattr("db.connection.REPEAT_FIRST_SECONDS", 0.05)
    address = database.url.render_as_string(hide_password=False)
    read_only = open_database(address, name="victim")

    @event.listens_for(read_only.sync_engine, "begin")
    def make_read_only(connection: Connection) -> None:
        if refusals:
            refusals.append(True)
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")

    refusals = [True]

    async def is_refused_often() -> bool:
        return len(refusals) > 5

    child, claim = await start_child(), await claim_task(worker_deps)
    read_only_deps = replace(worker_deps, database=read_only, heartbeat_seconds=0.2)
    performing = asyncio.create_task(perform(claim, child, read_only_deps, asyncio.Event(), lambda: None))
    await wait_until(is_refused_often)
    assert not performing.done()
    refusals.clear()
    assert await asyncio.wait_for(performing, 60) is TaskOutcome.PUBLISHED
    assert (await database_rows.fetch_task(database, accepted.task_id)).attempt == 1
    await read_only.dispose()


def make_outage() -> OperationalError:
    return OperationalError("COMMIT", {}, ConnectionResetError("the answer was lost"))

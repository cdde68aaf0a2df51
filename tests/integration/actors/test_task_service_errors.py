"""One claimed task while the database or the object store fails: nothing is counted against the file."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.sandbox.child_process import DecodingChild
from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from db.connection import open_database
from db.object_store.object_keys import video_key
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
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

    async def answer_lost(*arguments: Any, **options: Any) -> None:
        await publish(*arguments, **options)
        calls.append(1)
        if len(calls) == 1:
            raise text_outage()

    monkeypatch.setattr(task_queue, "publish", answer_lost)
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
    beats: list[int] = []

    async def away(*arguments: Any, **options: Any) -> None:
        calls.append(len(beats))
        if len(calls) < 5:
            raise text_outage()
        await publish(*arguments, **options)

    monkeypatch.setattr(task_queue, "publish", away)
    monkeypatch.setattr("db.connection.REPEAT_FIRST_SECONDS", 0.01)
    child = await DecodingChild.start()
    assert (
        await perform(await claim_task(worker_deps), child, worker_deps, asyncio.Event(), lambda: beats.append(1))
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
    refusing = open_database(address, name="victim")

    @event.listens_for(refusing.sync_engine, "begin")
    def refuse(connection: Connection) -> None:
        if not_yet:
            not_yet.append(True)
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")

    not_yet = [True]

    async def refused_again_and_again() -> bool:
        return len(not_yet) > 5

    child, claimed = await DecodingChild.start(), await claim_task(worker_deps)
    victim = replace(worker_deps, database=refusing, heartbeat_seconds=0.2)
    working = asyncio.create_task(perform(claimed, child, victim, asyncio.Event(), lambda: None))
    await wait_until(refused_again_and_again)
    assert not working.done()
    not_yet.clear()
    assert await asyncio.wait_for(working, 30) is TaskOutcome.PUBLISHED
    assert (await database_rows.fetch_task(database, accepted.task_id)).attempt == 1
    await refusing.dispose()


def text_outage() -> OperationalError:
    return OperationalError("COMMIT", {}, ConnectionResetError("the answer was lost"))

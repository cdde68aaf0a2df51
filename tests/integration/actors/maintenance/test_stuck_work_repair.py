"""Extractions without an open task, and tasks without an open extraction, are repaired."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db.acceptance import acceptance_audit
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from tests.support.state import database_rows
from tests.support.state.maintenance_setup import execute_past_triggers, make_maintenance, recount_and_repair
from tests.support.state.notification_setup import accept_and_fail
from tests.support.state.queue_steps import claim_one, share_and_real_open


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM tasks WHERE extraction_id = :id",
        "UPDATE tasks SET state = 'done', leased_by = NULL, lease_expires_at = NULL WHERE extraction_id = :id",
    ],
)
async def test_extraction_without_open_task_is_requeued_once_then_fails_and_is_notified(
    database: AsyncEngine, store: ObjectStore, statement: str
) -> None:
    accepted = await database_rows.accept_video(database)
    await claim_one(database)
    maintenance = make_maintenance(database, store)
    assert await maintenance.stuck_work_repairer.run() == 0
    await execute_past_triggers(database, statement, accepted.extraction_id)
    processes = maintenance, make_maintenance(database, store)
    assert sum(await asyncio.gather(*map(recount_and_repair, processes))) == 1
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "queued"
    assert await share_and_real_open(database, accepted.user_id) == (1, 1)
    await claim_one(database)
    await execute_past_triggers(database, statement, accepted.extraction_id)
    assert sum(await asyncio.gather(*map(recount_and_repair, processes))) == 1
    ended = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (ended.status, ended.error_code) == ("failed", "internal")
    assert await share_and_real_open(database, accepted.user_id) == (0, 0)
    assert (await database_rows.fetch_one(database, "SELECT count(*) AS n FROM outbox")).n == 1
    assert (await acceptance_audit.compare(database)).total.balanced


async def test_open_task_of_an_ended_extraction_is_cancelled(database: AsyncEngine, store: ObjectStore) -> None:
    await accept_and_fail(database)
    task = "INSERT INTO tasks (id, extraction_id, user_id) SELECT gen_random_uuid(), id, user_id FROM extractions"
    await database_rows.execute(database, task)
    assert not (await acceptance_audit.compare(database)).total.balanced
    processes = make_maintenance(database, store), make_maintenance(database, store)
    assert sum(await asyncio.gather(*map(recount_and_repair, processes))) == 1
    assert await task_queue.claim(database, worker="w") == []
    assert (await acceptance_audit.compare(database)).total.balanced

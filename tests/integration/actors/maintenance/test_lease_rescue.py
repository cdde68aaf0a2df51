"""Rescue takes expired leases away, but counts no outage against a worker."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import FunctionJob
from db.connection import is_outage, open_database
from db.object_store.object_store import ObjectStore
from tests.support.state import database_rows
from tests.support.state.maintenance_setup import make_maintenance
from tests.support.state.queue_steps import claim_one, expire_lease


async def test_expired_lease_is_rescued_after_a_whole_lease_of_a_reachable_database(
    database: AsyncEngine, store: ObjectStore
) -> None:
    accepted = await database_rows.accept_video(database)
    await claim_one(database)
    await expire_lease(database, accepted.task_id)
    now = [0.0]
    maintenance = make_maintenance(database, store, clock=lambda: now[0], lease_seconds=0.5)
    assert await maintenance.lease_rescuer.run() == 0
    now[0] = 0.4
    assert await maintenance.lease_rescuer.run() == 0
    now[0] = 0.6
    assert await maintenance.lease_rescuer.run() == 1
    assert (await database_rows.fetch_task(database, accepted.task_id)).losses == 1


@pytest.mark.parametrize(("process_seconds", "server_seconds"), [(0, 3600), (3600, 0), (3600, 3600), (0, -60)])
async def test_suspended_process_or_server_counts_as_an_outage(
    database: AsyncEngine,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    process_seconds: float,
    server_seconds: float,
) -> None:
    """After a suspension or a clock jump, leases have expired whose workers had no chance to renew them."""
    accepted = await database_rows.accept_video(database)
    await claim_one(database)
    await expire_lease(database, accepted.task_id)
    clocks = {"process": 0.0, "server": 1000.0}

    async def check(_database: AsyncEngine) -> float:
        return clocks["server"]

    monkeypatch.setattr("db.connection.check", check)
    maintenance = make_maintenance(database, store, clock=lambda: clocks["process"], lease_seconds=0.5)

    async def advance_and_rescue(process_seconds: float, server_seconds: float) -> int:
        clocks["process"] += process_seconds
        clocks["server"] += server_seconds
        return await maintenance.lease_rescuer.run()

    assert [await advance_and_rescue(0.2, 0.2) for _ in range(3)] == [0, 0, 0]
    assert await advance_and_rescue(process_seconds or 0.2, server_seconds or 0.2) == 0
    assert [await advance_and_rescue(0.2, 0.2) for _ in range(3)] == [0, 0, 1]


async def test_locked_task_does_not_delay_the_rescue_of_others(database: AsyncEngine, store: ObjectStore) -> None:
    locked, unlocked = await database_rows.accept_video(database), await database_rows.accept_video(database)
    for accepted in (locked, unlocked):
        await claim_one(database)
        await expire_lease(database, accepted.task_id)
    maintenance = make_maintenance(database, store)
    async with database.begin() as connection:
        await connection.execute(text("SELECT FROM tasks WHERE id = :id FOR UPDATE"), {"id": locked.task_id})
        assert await maintenance.lease_rescuer.run() == 1
        assert (await database_rows.fetch_task(database, unlocked.task_id)).losses == 1
    assert await maintenance.lease_rescuer.run() == 1


async def test_frozen_transaction_loses_its_locks_and_sees_an_outage(
    database: AsyncEngine, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.connection.IDLE_IN_TRANSACTION_SECONDS", 1)
    accepted = await database_rows.accept_video(database)
    await claim_one(database)
    await expire_lease(database, accepted.task_id)
    maintenance = make_maintenance(database, store)
    frozen = open_database(database.url.render_as_string(hide_password=False), name="frozen")
    async with frozen.connect() as connection:
        await connection.execute(text("SELECT FROM tasks WHERE id = :id FOR UPDATE"), {"id": accepted.task_id})
        while await maintenance.lease_rescuer.run() == 0:
            pass
        with pytest.raises(DBAPIError) as lost:
            await connection.execute(text("SELECT 1"))
    assert is_outage(lost.value)
    await frozen.dispose()


async def test_lock_timeout_is_not_an_outage_and_does_not_delay_rescue(
    database: AsyncEngine, store: ObjectStore
) -> None:
    now = [0.0]
    maintenance = make_maintenance(database, store, clock=lambda: now[0], lease_seconds=4)
    accepted = await database_rows.accept_video(database)
    await claim_one(database)
    await expire_lease(database, accepted.task_id)
    assert await maintenance.lease_rescuer.run() == 0

    async def time_out_on_a_lock() -> int:
        async with database.begin() as first, database.begin() as second:
            await first.execute(text("LOCK TABLE outbox"))
            await second.execute(text("SET LOCAL lock_timeout = '10ms'"))
            await second.execute(text("LOCK TABLE outbox"))
        return 0

    await maintenance.run_job(FunctionJob("locked_out", 0, time_out_on_a_lock))
    now[0] = 5.0
    assert await maintenance.lease_rescuer.run() == 1


async def test_task_lost_too_often_fails_and_is_notified(database: AsyncEngine, store: ObjectStore) -> None:
    accepted = await database_rows.accept_video(database)
    await database_rows.execute(database, "UPDATE tasks SET losses = 20")
    await claim_one(database)
    await expire_lease(database, accepted.task_id)
    assert await make_maintenance(database, store).lease_rescuer.run() == 1
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).error_code == "workers_lost"
    assert (await database_rows.fetch_one(database, "SELECT count(*) AS n FROM outbox")).n == 1

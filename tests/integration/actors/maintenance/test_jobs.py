"""Maintenance: a hanging job fails the health check, and its work is counted in metrics."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import FunctionJob
from actors.maintenance.maintenance_loop import STALLED_SECONDS, MaintenanceStalledError
from db.object_store.object_store import ObjectStore
from tests.support.state import database_rows
from tests.support.state.maintenance_setup import RecordedMetrics, execute_past_triggers, make_maintenance


async def test_hanging_job_fails_the_health_check(database: AsyncEngine, store: ObjectStore) -> None:
    now = [0.0]
    maintenance = make_maintenance(database, store, clock=lambda: now[0])
    started, never = asyncio.Event(), asyncio.Event()

    async def hang() -> int:
        started.set()
        await never.wait()
        return 0

    hanging = asyncio.create_task(maintenance.run_job(FunctionJob("rescue", 0, hang)))
    await started.wait()
    maintenance.check()
    now[0] = STALLED_SECONDS + 1
    with pytest.raises(MaintenanceStalledError, match="rescue"):
        maintenance.check()
    hanging.cancel()


async def test_metrics_count_maintenance_and_ledger_differences(database: AsyncEngine, store: ObjectStore) -> None:
    accepted = await database_rows.accept_video(database)
    await execute_past_triggers(database, "DELETE FROM extractions WHERE id = :id", accepted.extraction_id)
    metrics = RecordedMetrics()
    running_task = asyncio.create_task(make_maintenance(database, store).run(metrics))
    async with asyncio.timeout(60):
        await metrics.compared.wait()
    running_task.cancel()
    await asyncio.wait({running_task})
    assert metrics.values["fotograma_ledger_differences", None] == 1
    assert ("ledger", 1) in metrics.actions
    assert "ledger" in metrics.completions


async def test_metrics_count_a_failed_run_and_its_completion_is_not_told(
    database: AsyncEngine, store: ObjectStore
) -> None:
    async def fail() -> int:
        raise RuntimeError("broken")

    metrics = RecordedMetrics()
    await make_maintenance(database, store).run_job(FunctionJob("rescue", 0, fail), metrics)
    assert (metrics.failures, metrics.completions) == (["rescue"], [])

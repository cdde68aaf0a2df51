"""The metrics of queue and outbox tell what is in the database."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.queue_and_outbox_gauges import QueueAndOutboxGauges
from db.queue import fair_queueing
from db.queue.worker_kinds import GpuWorker, sign_of_gpu_worker
from db.values.lifecycle import Blame
from tests.support.state import database_rows
from tests.support.state.maintenance_setup import RecordedMetrics
from tests.support.state.queue_steps import accept_many, claim_one, expire_lease, fail_task, publish_result


async def measure(database: AsyncEngine) -> dict[tuple[str, str | None], float]:
    metrics = RecordedMetrics()
    assert await QueueAndOutboxGauges(database).run(metrics) == 0
    return metrics.values


async def test_empty_service_has_zeros(database: AsyncEngine) -> None:
    values = await measure(database)
    assert set(values.values()) == {0}
    assert {name for name, _ in values} == {
        "fotograma_extractions_given_up",
        "fotograma_gpu_workers",
        "fotograma_outbox_late_seconds",
        "fotograma_outbox_pending",
        "fotograma_queue_delayed_tasks",
        "fotograma_queue_expired_leases",
        "fotograma_queue_oldest_task_seconds",
        "fotograma_queue_tasks",
    }


async def test_workers_of_the_gpu_pool_are_counted_by_what_they_can_do(database: AsyncEngine) -> None:
    for name, can_decode in [("g1", True), ("g2", False), ("g3", True)]:
        await sign_of_gpu_worker(database, GpuWorker(name, can_decode, ""))
    values = await measure(database)
    assert [values["fotograma_gpu_workers", state] for state in ("decoding", "without_gpu")] == [2, 1]


@pytest.mark.usefixtures("long_pauses")
async def test_tasks_are_counted_by_their_state(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    await fair_queueing.set_running_limit(database, 4)
    accepted = await accept_many(database, user, 6)
    await expire_lease(database, (await claim_one(database)).lease.task_id)
    await fail_task(database, (await claim_one(database)).lease, Blame.SERVICE)
    await database_rows.execute(
        database, "UPDATE tasks SET created_at = created_at - interval '50 s' WHERE id = :id", id=accepted[5].task_id
    )
    values = await measure(database)
    assert [values["fotograma_queue_tasks", state] for state in ("throttled", "ready", "leased")] == [2, 3, 1]
    assert values["fotograma_queue_expired_leases", None] == 1
    assert values["fotograma_queue_delayed_tasks", None] == 1
    assert values["fotograma_queue_oldest_task_seconds", None] == pytest.approx(50, abs=10)


async def test_notifications_that_are_due_are_counted_with_their_age(database: AsyncEngine) -> None:
    await database_rows.accept_video(database)
    await publish_result(database, (await claim_one(database)).lease)
    await database_rows.execute(database, "UPDATE outbox SET due_at = due_at - interval '90 s'")
    values = await measure(database)
    assert values["fotograma_outbox_pending", None] == 1
    assert values["fotograma_outbox_late_seconds", None] == pytest.approx(90, abs=10)
    await database_rows.execute(database, "UPDATE outbox SET delivered_at = now()")
    values = await measure(database)
    assert (values["fotograma_outbox_pending", None], values["fotograma_outbox_late_seconds", None]) == (0, 0)

"""Repairs rows that no timer of the queue would ever end. Only a defect or a manual change leaves such rows.

An extraction that has not ended and has no active task is requeued once; the second time it fails. Tasks of ended
extractions are cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from uuid_utils.compat import uuid7

from db.queue import task_queue
from db.queue.task_queue import Lease, LeaseLost
from db.queue.task_queue_sql import CANCEL_TASKS, LOCK_TASKS
from db.values.lifecycle import LEASE_SECONDS, Blame

MAINTENANCE = "maintenance"
"""The worker's name in the lease of a task that is added only to fail."""
_ENDED_TASK = "('done', 'failed', 'cancelled')"
_DETAIL = "No part of the work was left to do, and there was no result."


@dataclass(frozen=True, slots=True)
class Repaired:
    """requeued, failed: stuck extractions. outlived: ended extractions that still had active tasks."""

    requeued: int = 0
    failed: int = 0
    outlived: int = 0


_STUCK = f"""
    extractions.status IN ('queued', 'running') AND NOT EXISTS (
        SELECT 1 FROM tasks WHERE tasks.extraction_id = extractions.id AND tasks.state NOT IN {_ENDED_TASK}
    )
"""
STUCK = text(f"SELECT id FROM extractions WHERE {_STUCK} LIMIT :limit")
OUTLIVED = text(f"""
    SELECT DISTINCT tasks.extraction_id FROM tasks JOIN extractions ON extractions.id = tasks.extraction_id
    WHERE tasks.state NOT IN {_ENDED_TASK} AND extractions.status NOT IN ('queued', 'running') LIMIT :limit
""")
LOCK_EXTRACTION = text("SELECT id FROM extractions WHERE id = :extraction_id FOR UPDATE")
# Read after the locks: the extraction may have moved on, or another process may have repaired it.
STILL_STUCK = text(f"""
    SELECT EXISTS (SELECT 1 FROM events WHERE extraction_id = extractions.id AND kind = 'requeued') AS again
    FROM extractions WHERE id = :extraction_id AND {_STUCK}
""")
# Drops what the ended tasks have made, so that no old segment is joined with new ones.
REQUEUE = text("""
    WITH old AS (
        DELETE FROM tasks WHERE extraction_id = :extraction_id
        RETURNING priority, virtual_finish, cost, prefers
    ), task AS (
        INSERT INTO tasks (id, extraction_id, user_id, priority, virtual_finish, cost, prefers,
            state, attempt, leased_by, lease_expires_at)
        SELECT :task_id, extractions.id, extractions.user_id,
            coalesce(max(old.priority), 0), coalesce(max(old.virtual_finish), 0), coalesce(max(old.cost), 0),
            coalesce(max(old.prefers), 'cpu'),
            CAST(:state AS task_state), CASE WHEN :state = 'leased' THEN 1 ELSE 0 END,
            CASE WHEN :state = 'leased' THEN CAST(:owner AS text) END,
            CASE WHEN :state = 'leased' THEN clock_timestamp() + make_interval(secs => :lease_seconds) END
        FROM extractions LEFT JOIN old ON true WHERE extractions.id = :extraction_id GROUP BY extractions.id
        RETURNING tasks.user_id
    ), counted AS (
        UPDATE shares SET open = open + 1 FROM task WHERE shares.user_id = task.user_id
    ), waiting AS (
        UPDATE extractions
        SET status = 'queued', frames_done = 0, plan_key = NULL, segments_left = NULL, version = version + 1
        WHERE id = :extraction_id
    )
    INSERT INTO events (extraction_id, kind) VALUES (:extraction_id, 'requeued')
""")


async def repair(database: AsyncEngine, *, limit: int = 100) -> Repaired:
    """Ends or requeues stuck work, at most `limit` of each kind. Several processes may run it at the same time."""
    async with database.connect() as connection:
        stuck = (await connection.execute(STUCK, {"limit": limit})).scalars().all()
        outlived = (await connection.execute(OUTLIVED, {"limit": limit})).scalars().all()
    outcomes = [await _requeue_or_fail(database, extraction_id) for extraction_id in stuck]
    cancelled = [await _cancel_outlived(database, extraction_id) for extraction_id in outlived]
    return Repaired(outcomes.count("requeued"), outcomes.count("failed"), sum(cancelled))


async def _requeue_or_fail(database: AsyncEngine, extraction_id: UUID) -> str | None:
    task_id = uuid7()
    async with database.begin() as connection:
        await _lock(connection, extraction_id)
        row = (await connection.execute(STILL_STUCK, {"extraction_id": extraction_id})).first()
        if row is None:
            return None
        values: dict[str, Any] = {"extraction_id": extraction_id, "task_id": task_id, "owner": MAINTENANCE}
        values |= {"state": "leased" if row.again else "ready", "lease_seconds": LEASE_SECONDS}
        await connection.execute(REQUEUE, values)
    if not row.again:
        return "requeued"
    try:
        # Fails by the queue's own verb, so that the owner is notified. If this process dies here, the lease expires.
        lease = Lease(task_id, 1, MAINTENANCE)
        await task_queue.fail(database, lease, blame=Blame.FILE, code="internal", detail=_DETAIL, jitter=0.0)
    except LeaseLost:
        return None
    return "failed"


async def _cancel_outlived(database: AsyncEngine, extraction_id: UUID) -> bool:
    async with database.begin() as connection:
        await _lock(connection, extraction_id)
        cancelled = await connection.execute(CANCEL_TASKS, {"extraction_id": extraction_id})
        return cancelled.rowcount > 0


async def _lock(connection: AsyncConnection, extraction_id: UUID) -> None:
    """Takes the locks in the order of the queue: tasks before their extraction."""
    await connection.execute(LOCK_TASKS, {"extraction_id": extraction_id})
    await connection.execute(LOCK_EXTRACTION, {"extraction_id": extraction_id})

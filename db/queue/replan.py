"""Plans a split extraction anew, because its plan was made by another engine than that of the worker.

The claimed task becomes the planning task. It keeps its place in the queue and its slot. The extraction's other
tasks are deleted, so their workers lose their leases. The attempt becomes the highest of the extraction, so that no
earlier attempt can be mistaken for a later one.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queue.task_queue import Lease, LeaseLost
from db.queue.task_queue_sql import FAIL, LOCK_FENCED
from db.values.lifecycle import Blame, Counters, GiveUp, Retry, after_failure

MANY = 20
"""How many replans, for at least a day, before it is given up: a rollout needs fewer, two different settings do not."""
_DETAIL = "The workers did not agree on how to work."

EARLIER = text("""
    SELECT tasks.extraction_id, count(events.id) AS times,
        coalesce(extract(epoch FROM clock_timestamp() - min(events.at)), 0) AS seconds
    FROM tasks LEFT JOIN events ON events.extraction_id = tasks.extraction_id AND events.kind = 'replanned'
    WHERE tasks.id = :task_id GROUP BY tasks.extraction_id
""")
# Keeps `work`, which has been charged, and `claimed_at`, which virtual time depends on.
REPLAN = text("""
    WITH others AS (
        DELETE FROM tasks WHERE extraction_id = :extraction_id AND id <> :task_id
        RETURNING kind, cost, work, claimed_at, prefers
    ), task AS (
        UPDATE tasks
        SET kind = 'extract', state = 'ready', leased_by = NULL, lease_expires_at = NULL,
            preview_key = NULL, preview_frames = NULL,
            ready_at = clock_timestamp() + make_interval(secs => :delay_seconds),
            attempt = extractions.attempt, cost = planning.cost, work = planning.work,
            claimed_at = planning.claimed_at, prefers = planning.prefers, frames_done = 0,
            segment_number = NULL, segment_first = NULL, segment_stop = NULL,
            crashes = 0, losses = 0, service_errors = 0, first_service_error_at = NULL
        FROM extractions, others AS planning
        WHERE tasks.id = :task_id AND tasks.kind <> 'extract' AND planning.kind = 'extract'
            AND extractions.id = tasks.extraction_id
        RETURNING tasks.extraction_id
    ), waiting AS (
        UPDATE extractions
        SET status = 'queued', frames_done = 0, plan_key = NULL, segments_left = NULL, version = version + 1
        FROM task WHERE extractions.id = task.extraction_id
    ), noted AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT extraction_id, 'replanned',
            jsonb_build_object('attempt', CAST(:attempt AS integer), 'engine', CAST(:plan_engine AS text))
        FROM task
    )
    SELECT extraction_id FROM task
""")


async def replan(database: AsyncEngine, lease: Lease, *, plan_engine: str, jitter: float) -> Retry | GiveUp:
    """Turns a claimed segment or assemble task into the planning task, with a growing pause; or ends the extraction.

    plan_engine: the engine that made the plan. Raises LeaseLost.
    """
    fence = {"task_id": lease.task_id, "attempt": lease.attempt, "worker": lease.worker}
    async with database.begin() as connection:
        if not any(row.is_meant for row in await connection.execute(LOCK_FENCED, fence)):
            raise LeaseLost(lease)
        earlier = (await connection.execute(EARLIER, {"task_id": lease.task_id})).one()
        seconds = float(earlier.seconds) if earlier.times >= MANY else 0.0
        counters = Counters(service_errors=earlier.times, service_error_seconds=seconds)
        outcome = after_failure(Blame.SERVICE, "service_failed", counters, jitter)
        if isinstance(outcome, GiveUp):
            counted = {"task_id": lease.task_id, "crash": 0, "loss": 0, "service_error": 1}
            await connection.execute(FAIL, counted | {"code": outcome.code, "detail": _DETAIL})
            return outcome
        values = fence | {"extraction_id": earlier.extraction_id, "plan_engine": plan_engine}
        values["delay_seconds"] = outcome.delay_seconds
        if (await connection.execute(REPLAN, values)).first() is None:
            raise LeaseLost(lease)
    return outcome

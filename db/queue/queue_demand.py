"""What the queue asks of the workers, for scaling: how much is ready, how long it takes, how many workers are busy.

Each ready task counts for one kind of workers: work for GPUs for theirs while it is left to them, and after that for
the CPU workers, which may then claim it. So what the GPU pool can't do, because it has all the workers that it may
have or none comes, is asked of the CPU pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queue.fair_queueing import PIXELS_PER_BYTE
from db.queue.worker_kinds import IS_LEFT_TO_GPU
from db.values.worker_kind import WorkerKind

MAX_COUNTED_TASKS = 20_000
"""More ready tasks than this need all workers anyway; counting them would take the database's time every second."""
ASSEMBLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class QueueDemand:
    """ready: tasks that can be claimed now. ready_seconds: what one worker usually needs for them. oldest_seconds: for
    how long the oldest of them has been ready. running: leased tasks. passed_on: tasks that prefer this kind and count
    for another one. All are counted up to MAX_COUNTED_TASKS.
    """

    ready: int = 0
    ready_seconds: float = 0.0
    oldest_seconds: float = 0.0
    running: int = 0
    passed_on: int = 0


# Each state is a literal, so that its partial index has the rows. A task without a plan costs the bytes of its video
# (`fair_queueing`); a segment takes about as long as any other. A GPU worker may run any task.
DEMAND = text(f"""
    WITH claimable AS MATERIALIZED (
        SELECT kind, cost, ready_at, prefers,
            CASE WHEN {IS_LEFT_TO_GPU} THEN '{WorkerKind.GPU}' ELSE '{WorkerKind.CPU}' END AS counts_for
        FROM tasks WHERE state = 'ready' AND ready_at <= clock_timestamp() LIMIT {MAX_COUNTED_TASKS}
    ), ready AS (
        SELECT counts_for, count(*) AS count,
            sum(CASE kind
                WHEN 'extract' THEN cost * {PIXELS_PER_BYTE} / CAST(:pixels_per_second AS double precision)
                WHEN 'segment' THEN CAST(:segment_seconds AS double precision)
                ELSE {ASSEMBLE_SECONDS} END) AS seconds,
            extract(epoch FROM clock_timestamp() - min(ready_at)) AS oldest_seconds
        FROM claimable GROUP BY counts_for
    ), leased AS (
        SELECT held_by, count(*) AS count FROM (
            SELECT CASE WHEN leased_by IN (SELECT name FROM gpu_workers)
                THEN '{WorkerKind.GPU}' ELSE '{WorkerKind.CPU}' END AS held_by
            FROM tasks WHERE state = 'leased' LIMIT {MAX_COUNTED_TASKS}
        ) AS held GROUP BY held_by
    )
    SELECT kinds.kind, coalesce(ready.count, 0) AS ready, coalesce(ready.seconds, 0) AS ready_seconds,
        greatest(coalesce(ready.oldest_seconds, 0), 0) AS oldest_seconds, coalesce(leased.count, 0) AS running,
        (SELECT count(*) FROM claimable WHERE prefers = kinds.kind AND counts_for <> kinds.kind) AS passed_on
    FROM (VALUES ('{WorkerKind.CPU}'), ('{WorkerKind.GPU}')) AS kinds (kind)
    LEFT JOIN ready ON ready.counts_for = kinds.kind
    LEFT JOIN leased ON leased.held_by = kinds.kind
""")


async def demand(
    database: AsyncEngine, *, pixels_per_second: float, segment_seconds: float
) -> Mapping[WorkerKind, QueueDemand]:
    """pixels_per_second: what a worker usually decodes. segment_seconds: what a segment usually takes."""
    values = {"pixels_per_second": pixels_per_second, "segment_seconds": segment_seconds}
    async with database.connect() as connection:
        rows = (await connection.execute(DEMAND, values)).all()
    return {
        WorkerKind(row.kind): QueueDemand(
            row.ready, float(row.ready_seconds), float(row.oldest_seconds), row.running, row.passed_on
        )
        for row in rows
    }

"""Fair queueing: one tag per task decides the order (start-time fair queueing); each account has a limit of open tasks.

A task's tag is `max(V, tag of its account's latest task) + cost / weight`; V, the queue's virtual time, is the tag
of the latest claim. Work for GPUs has a V of its own: a GPU worker takes it out of turn. If that moved the V of other
work, newcomers would stand behind all that was passed over. When a task is accepted, its cost is its size in bytes.
After planning, the difference to the real work is added to the account's next task or taken off it. Source: Goyal, Vin,
Cheng, "Start-time Fair Queueing", SIGCOMM 1996; with one column, the finish tag.

An account's ready and leased tasks are `open`; tasks past its limit are throttled and not in the index of the claim.
Triggers on `tasks` admit them, so that no way of ending a task can forget to. Only acceptance inserts ready tasks, and
counts them in the update that charges the account; all other inserted tasks are throttled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queue.worker_kinds import GPU_EXISTS
from db.values.worker_kind import GPU_WORK_BYTES, WorkerKind

PIXELS_PER_BYTE = 80
"""How many decoded pixels a byte of common video gives, at a tenth of a bit per pixel."""
MAX_WORK = 1 << 44
"""In bytes. A day of 8K at 120 frames a second costs less; a plan that claimed more would exhaust the precision of
tags.
"""
# What all frames of a probed video cost, in bytes like a file's size; the size of the file before the probe. A file may
# claim any numbers: their product may not fit into an integer.
WORK_OF_MEDIA = f"""coalesce(
    CAST(media ->> 'width' AS double precision) * CAST(media ->> 'height' AS double precision)
        * CAST(media ->> 'frames' AS double precision) / {PIXELS_PER_BYTE}, size)"""
ADMIN_PRIORITY = 10
"""The priority of administrators' tasks; all others have 0."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A share whose count was wrong. recorded: the stored count of open tasks. counted: the real one."""

    user_id: UUID
    recorded: int
    counted: int


def work_of(media: Mapping[str, Any], frames: int) -> int:
    """Returns the cost of decoding so many frames, in bytes like a file's size. 0 when the picture size is unknown."""
    pixels = int(media.get("width") or 0) * int(media.get("height") or 0)
    return min(frames * pixels // PIXELS_PER_BYTE, MAX_WORK)


_LATEST_TAG = """(
                SELECT virtual_finish FROM tasks
                WHERE prefers = '{kind}' AND kind = 'extract' AND claimed_at IS NOT NULL
                ORDER BY claimed_at DESC LIMIT 1
            )"""
# Follows the CTE `asker` (task_id, extraction_id, user_id, number, size, work), one row per new task; work: its cost as
# far as it is known, which decides the kind of workers that it prefers. Locks the shares of their accounts in the order
# of ids, and provides `tagged`: the same rows with priority, finish, state and prefers. An account's tasks are charged
# one after another, by number; tasks without a free slot are throttled.
TAGGED = f"""
    share AS MATERIALIZED (
        SELECT shares.user_id, shares.weight, shares.last_finish, shares.owed, shares.open,
            coalesce(shares.running_limit, queue_state.running_limit) AS running_limit,
            CASE users.role WHEN 'admin' THEN {ADMIN_PRIORITY} ELSE 0 END AS priority,
            greatest(queue_state.virtual_time, {_LATEST_TAG.format(kind=WorkerKind.CPU)}) AS virtual_time,
            greatest(queue_state.gpu_virtual_time, {_LATEST_TAG.format(kind=WorkerKind.GPU)}) AS gpu_virtual_time,
            {GPU_EXISTS} AS gpu_exists
        FROM shares JOIN users ON users.id = shares.user_id CROSS JOIN queue_state
        WHERE shares.user_id IN (SELECT user_id FROM asker)
        ORDER BY shares.user_id FOR UPDATE OF shares
    ), charge AS (
        SELECT asker.*, preferred.kind AS prefers, share.weight, share.priority, share.open, share.running_limit,
            greatest(share.virtual_time, share.last_finish,
                CASE preferred.kind WHEN '{WorkerKind.GPU}' THEN share.gpu_virtual_time END) AS start,
            share.owed + sum(asker.size) OVER before AS owed, row_number() OVER before AS place
        FROM asker JOIN share ON share.user_id = asker.user_id CROSS JOIN LATERAL (
            SELECT CASE WHEN share.gpu_exists AND asker.work >= {GPU_WORK_BYTES}
                THEN '{WorkerKind.GPU}' ELSE '{WorkerKind.CPU}' END AS kind
        ) AS preferred
        WINDOW before AS (PARTITION BY asker.user_id ORDER BY asker.number)
    ), tagged AS MATERIALIZED (
        SELECT *, start + greatest(owed, 0) / weight AS finish,
            CAST(CASE WHEN open + place <= running_limit THEN 'ready' ELSE 'throttled' END AS task_state) AS state
        FROM charge
    ), charged AS (
        UPDATE shares
        SET owed = least(total.owed, 0), last_finish = total.finish, open = shares.open + total.admitted
        FROM (
            SELECT user_id, max(owed) AS owed, max(finish) AS finish,
                count(*) FILTER (WHERE state = 'ready') AS admitted
            FROM tagged GROUP BY user_id
        ) AS total
        WHERE shares.user_id = total.user_id
    )
"""

ADMIT_THROTTLED = text("""
    SELECT coalesce(sum(fill_slots(user_id)), 0)
    FROM (SELECT DISTINCT user_id FROM tasks WHERE state = 'throttled' ORDER BY user_id) AS waiting
""")
SET_RUNNING_LIMIT = text("UPDATE queue_state SET running_limit = :running_limit WHERE running_limit <> :running_limit")
COMMON_LIMIT = 0
"""For `set_share`: the account uses the common limit again."""
SET_SHARE = text("""
    UPDATE shares SET weight = coalesce(CAST(:weight AS double precision), weight),
        running_limit = nullif(coalesce(CAST(:running_limit AS integer), running_limit), 0)
    WHERE user_id = :user_id RETURNING user_id
""")
# One statement sees one snapshot, in which tasks and counts agree, so concurrent work makes no difference. The
# states are
# counted apart: each is read from its own index, however long the history is.
DRIFTED = text("""
    SELECT shares.user_id FROM shares LEFT JOIN (
        SELECT user_id, count(*) AS open FROM (
            SELECT user_id FROM tasks WHERE state = 'ready' UNION ALL SELECT user_id FROM tasks WHERE state = 'leased'
        ) AS taken GROUP BY user_id
    ) AS counted ON counted.user_id = shares.user_id
    WHERE shares.open <> coalesce(counted.open, 0) ORDER BY shares.user_id
""")
LOCK_SHARE = text("SELECT open FROM shares WHERE user_id = :user_id FOR UPDATE")
# Runs after the lock, so it sees what was committed before. A transaction that has changed a task but not yet its count
# waits for the lock: its change is not visible here, and it counts it afterwards.
RECOUNT = text("""
    UPDATE shares SET open = counted.open
    FROM (SELECT count(*) AS open FROM tasks WHERE user_id = :user_id AND state IN ('ready', 'leased')) AS counted
    WHERE shares.user_id = :user_id AND shares.open <> counted.open RETURNING shares.open
""")


async def recount(database: AsyncEngine) -> list[Drift]:
    """Corrects shares whose count of open tasks is wrong; returns them.

    A count that is too high throttles the account; one that is too low makes the end of a task fail.
    """
    async with database.connect() as connection:
        drifted = (await connection.execute(DRIFTED)).scalars().all()
    found = [await recount_one(database, user_id) for user_id in drifted]
    return [drift for drift in found if drift is not None]


async def recount_one(database: AsyncEngine, user_id: UUID) -> Drift | None:
    """Corrects the count of one account's open tasks; None when it was right."""
    async with database.begin() as connection:
        recorded = (await connection.execute(LOCK_SHARE, {"user_id": user_id})).scalar()
        counted = (await connection.execute(RECOUNT, {"user_id": user_id})).scalar()
    return None if recorded is None or counted is None else Drift(user_id, recorded, counted)


async def admit_throttled(database: AsyncEngine) -> int:
    """Admits throttled tasks whose account has a free slot; returns how many.

    The triggers do this too. They miss a task only when a transaction that had locked it was rolled back, or when a
    limit was raised.
    """
    async with database.begin() as connection:
        return int((await connection.execute(ADMIT_THROTTLED)).scalar_one())


async def set_running_limit(database: AsyncEngine, running_limit: int) -> None:
    """Sets the limit of open tasks for accounts without their own limit. Tasks that are open stay open."""
    async with database.begin() as connection:
        await connection.execute(SET_RUNNING_LIMIT, {"running_limit": running_limit})


async def set_share(
    database: AsyncEngine, user_id: UUID, *, weight: float | None = None, running_limit: int | None = None
) -> bool:
    """Sets an account's weight (usually 1) and its limit, or COMMON_LIMIT. None leaves a value as it is.

    Returns False when the account does not exist.
    """
    values = {"user_id": user_id, "weight": weight, "running_limit": running_limit}
    async with database.begin() as connection:
        return (await connection.execute(SET_SHARE, values)).first() is not None

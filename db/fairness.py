"""Whose task comes next: start-time fair queueing by one tag a task, and a limit of open tasks for each account.

A task's tag is `max(V, tag of its account's latest) + cost / weight`; V, the queue's virtual time, is the tag of the
latest claim. Cost is bytes when accepting; what the plan turns out to be worth is charged to the account's next task,
or taken off it. Source: Goyal, Vin, Cheng, "Start-time Fair Queueing", SIGCOMM 1996; with one column, the finish tag.

An account's tasks that are ready or leased are `open`; those past its limit are held, outside the claim's index. They
are let in by triggers on `tasks`, so that no way of ending a task can forget it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

PIXELS_PER_BYTE = 80
"""Decoded pixels that a byte of common video makes: a tenth of a bit each."""
ADMIN_PRIORITY = 10
"""Of what administrators ask for; everybody else's is 0."""


def work_of(media: Mapping[str, Any], frames: int) -> int:
    """What decoding that many frames is worth, in bytes, comparable with a file's size. 0 when the size is unknown."""
    pixels = int(media.get("width") or 0) * int(media.get("height") or 0)
    return frames * pixels // PIXELS_PER_BYTE


# Stands after the CTE `asker`, at most one row (user_id, size): locks the account's share, charges it, and gives
# `charged` (user_id, priority, finish, state). A task that finds no place free is held.
TAGGED = f"""
    share AS MATERIALIZED (
        SELECT shares.user_id, shares.weight, shares.last_finish, asker.size + shares.owed AS charge,
            shares.open < coalesce(shares.running_limit, queue_state.running_limit) AS is_let_in,
            CASE users.role WHEN 'admin' THEN {ADMIN_PRIORITY} ELSE 0 END AS priority,
            greatest(queue_state.virtual_time, (
                SELECT virtual_finish FROM tasks WHERE kind = 'extract' AND claimed_at IS NOT NULL
                ORDER BY claimed_at DESC LIMIT 1
            )) AS virtual_time
        FROM asker JOIN shares ON shares.user_id = asker.user_id JOIN users ON users.id = asker.user_id
        CROSS JOIN queue_state
        FOR UPDATE OF shares
    ), charged AS (
        UPDATE shares SET owed = least(share.charge, 0),
            last_finish = greatest(share.virtual_time, share.last_finish) + greatest(share.charge, 0) / share.weight
        FROM share WHERE shares.user_id = share.user_id
        RETURNING shares.user_id, share.priority, shares.last_finish AS finish,
            CAST(CASE WHEN share.is_let_in THEN 'ready' ELSE 'held' END AS task_state) AS state
    )
"""

RELEASE_HELD = text("""
    SELECT coalesce(sum(fill_slots(user_id)), 0)
    FROM (SELECT DISTINCT user_id FROM tasks WHERE state = 'held' ORDER BY user_id) AS waiting
""")
SET_RUNNING_LIMIT = text("UPDATE queue_state SET running_limit = :running_limit WHERE running_limit <> :running_limit")
SET_SHARE = text("""
    UPDATE shares SET weight = :weight, running_limit = :running_limit WHERE user_id = :user_id RETURNING user_id
""")


async def release_held(engine: AsyncEngine) -> int:
    """Lets in what is held although its account has a place free; how many. The net under the triggers, which leave
    such a task only when a transaction that had it locked was undone, or a limit was raised."""
    async with engine.begin() as connection:
        return int((await connection.execute(RELEASE_HELD)).scalar_one())


async def set_running_limit(engine: AsyncEngine, running_limit: int) -> None:
    """How many open tasks an account has at most, when it has no limit of its own. What is open already stays so."""
    async with engine.begin() as connection:
        await connection.execute(SET_RUNNING_LIMIT, {"running_limit": running_limit})


async def set_share(engine: AsyncEngine, user_id: UUID, *, weight: float, running_limit: int | None) -> bool:
    """An account's weight (1 is common), and a limit of its own. False when there is no such account."""
    values = {"user_id": user_id, "weight": weight, "running_limit": running_limit}
    async with engine.begin() as connection:
        return (await connection.execute(SET_SHARE, values)).first() is not None

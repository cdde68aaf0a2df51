"""What an account may hold, and how full the queue is: counted in Postgres, never in the cache.

A quota is looked at twice: before a body is read, so that nobody sends what will be refused, and in the accepting
transaction behind a lock of the account, so that calls at the same time can't pass it together.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.errors import FotogramaError
from db.lifecycle import TaskState

WAITING_RETRY_SECONDS = 10
STORED_RETRY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Quotas:
    """None: no limit. waiting: extractions that have not ended. stored_bytes: videos and archives together."""

    waiting: int | None = None
    stored_bytes: int | None = None


UNLIMITED = Quotas()


@dataclass(frozen=True, slots=True)
class Holding:
    """What an account holds, counted as far as a quota asks: `waiting` up to that quota."""

    waiting: int
    stored_bytes: int


# Freed with the transaction. No other code takes it, and it is taken first: it can never be part of a deadlock.
LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('quota:' || CAST(:user_id AS text), 0))")

# Bounded by the quota: the rows beyond it change nothing.
WAITING = text("""
    SELECT count(*) FROM (
        SELECT FROM extractions WHERE user_id = :user_id AND status IN ('queued', 'running') LIMIT :most
    ) AS waiting
""")
STORED = text("""
    SELECT coalesce((SELECT sum(size) FROM videos WHERE user_id = :user_id), 0)
         + coalesce((SELECT sum(result_bytes) FROM extractions WHERE user_id = :user_id AND NOT reused), 0)
""")

# One branch a state, each a literal and in the order of its partial index: read in any order, a table whose older rows
# have ended would be read from its start.
_ORDER = "worker_kind, priority DESC, virtual_finish, id"
_BRANCHES = " UNION ALL ".join(
    f"(SELECT FROM tasks WHERE state = '{state.value}' ORDER BY {_ORDER} LIMIT :most)"
    for state in TaskState
    if state.value in {"ready", "held"}
)
DEPTH = text(f"SELECT count(*) FROM (SELECT FROM ({_BRANCHES}) AS each LIMIT :most) AS waiting")


def check(quotas: Quotas, holding: Holding, *, files: int, size: int) -> None:
    """Whether an account that holds this may have `files` more extractions and `size` bytes more.

    Raises FotogramaError `too_many_waiting` or `quota_exceeded`.
    """
    if quotas.waiting is not None and holding.waiting + files > quotas.waiting:
        what = f"{holding.waiting} of your extractions wait or run; {quotas.waiting} may."
        raise FotogramaError("too_many_waiting", what, retry_after=WAITING_RETRY_SECONDS)
    if quotas.stored_bytes is not None and holding.stored_bytes + size > quotas.stored_bytes:
        what = f"You have {holding.stored_bytes:,} of {quotas.stored_bytes:,} bytes in use; this needs {size:,} more."
        raise FotogramaError("quota_exceeded", what, retry_after=STORED_RETRY_SECONDS)


async def foresee(engine: AsyncEngine, user_id: UUID, quotas: Quotas, *, files: int, size: int) -> None:
    """`check` on what is committed now, before anything is stored. Raises as `check`."""
    if quotas == UNLIMITED:
        return
    async with engine.connect() as connection:
        check(quotas, await _holding(connection, user_id, quotas), files=files, size=size)


async def claim_room(connection: AsyncConnection, user_id: UUID, quotas: Quotas, *, files: int, size: int) -> None:
    """`check` that holds until the caller's transaction ends; to be called before its other statements.

    Raises as `check`.
    """
    if quotas == UNLIMITED:
        return
    # A statement of its own: the counts must see what the lock's last holder committed.
    await connection.execute(LOCK, {"user_id": user_id})
    check(quotas, await _holding(connection, user_id, quotas), files=files, size=size)


async def depth(engine: AsyncEngine, most: int) -> int:
    """Tasks that wait for a worker, counted up to `most`."""
    async with engine.connect() as connection:
        return int((await connection.execute(DEPTH, {"most": most})).scalar_one())


async def _holding(connection: AsyncConnection, user_id: UUID, quotas: Quotas) -> Holding:
    waiting, stored = 0, 0
    if quotas.waiting is not None:
        values = {"user_id": user_id, "most": quotas.waiting}
        waiting = int((await connection.execute(WAITING, values)).scalar_one())
    if quotas.stored_bytes is not None:
        stored = int((await connection.execute(STORED, {"user_id": user_id})).scalar_one())
    return Holding(waiting, stored)

"""Which extractions have changed since a position, for clients that follow them live.

A position is a snapshot of PostgreSQL: which transactions had ended. Events that are visible and were not visible in
the earlier snapshot are exactly those that were committed in between, in whatever order their transactions began. So
an event is found by the first look after its commit, while older transactions still run.

Progress writes no event. `read_running` gives the extractions whose progress can change.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.videos import KEY_COLUMNS, RepresentationKey, key_of

MAX_MISSED_EVENTS = 20_000
"""The most events, of all accounts, that are searched for what one client has missed."""


@dataclass(frozen=True, slots=True)
class Position:
    """snapshot: as PostgreSQL writes it. oldest: the oldest transaction that had not ended; all before it had."""

    snapshot: str
    oldest: int


@dataclass(frozen=True, slots=True)
class Change:
    """An extraction of this account, in the version that the change was found in."""

    user_id: UUID
    key: RepresentationKey


_POSITION = "CAST(snapshot AS text) AS snapshot, CAST(CAST(pg_snapshot_xmin(snapshot) AS text) AS bigint) AS oldest"
READ_POSITION = text(f"SELECT {_POSITION} FROM (SELECT pg_current_snapshot() AS snapshot) AS present")
# The bounds let the index find the few newest events. Nothing at or after xmax can be visible.
READ_CHANGES = text(f"""
    WITH present AS MATERIALIZED (SELECT pg_current_snapshot() AS snapshot), changed AS MATERIALIZED (
        SELECT DISTINCT extraction_id FROM events
        WHERE transaction_id >= :oldest
          AND transaction_id < (SELECT CAST(CAST(pg_snapshot_xmax(snapshot) AS text) AS bigint) FROM present)
          AND NOT pg_visible_in_snapshot(
                CAST(CAST(transaction_id AS text) AS xid8), CAST(:snapshot AS pg_snapshot))
    )
    SELECT {_POSITION}, found.* FROM present LEFT JOIN (
        SELECT extractions.user_id, {KEY_COLUMNS}
        FROM changed JOIN extractions ON extractions.id = changed.extraction_id
        WHERE extractions.user_id = ANY(:user_ids)
    ) AS found ON true
""")
READ_RUNNING = text(f"""
    SELECT user_id, {KEY_COLUMNS} FROM extractions WHERE user_id = ANY(:user_ids) AND status = 'running'
""")
IS_KNOWN = text("""
    SELECT :oldest <= CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) AND (
        SELECT count(*) FROM (SELECT FROM events WHERE transaction_id >= :oldest LIMIT :max_events + 1) AS missed
    ) <= :max_events
""")
READ_MISSED = text(f"""
    WITH changed AS MATERIALIZED (
        SELECT DISTINCT extraction_id FROM events WHERE transaction_id >= :oldest
        UNION SELECT id FROM extractions WHERE user_id = :user_id AND status = 'running'
    )
    SELECT {KEY_COLUMNS} FROM changed JOIN extractions ON extractions.id = changed.extraction_id
    WHERE extractions.user_id = :user_id ORDER BY extractions.id
""")
READ_UNENDED = text(f"""
    SELECT {KEY_COLUMNS} FROM extractions WHERE user_id = :user_id AND status IN ('queued', 'running') ORDER BY id
""")


async def read_position(database: AsyncEngine) -> Position:
    """Returns the present position."""
    async with database.connect() as connection:
        return _position((await connection.execute(READ_POSITION)).one())


async def read_changes(
    database: AsyncEngine, since: Position, user_ids: Collection[UUID]
) -> tuple[Position, Sequence[Change]]:
    """Returns the present position, and the extractions of these accounts with an event after `since`."""
    values = {"oldest": since.oldest, "snapshot": since.snapshot, "user_ids": list(user_ids)}
    async with database.connect() as connection:
        rows = (await connection.execute(READ_CHANGES, values)).all()
    return _position(rows[0]), [_change(row) for row in rows if row.user_id is not None]


async def read_running(database: AsyncEngine, user_ids: Collection[UUID]) -> Sequence[Change]:
    """Returns the running extractions of these accounts."""
    async with database.connect() as connection:
        return [_change(row) for row in await connection.execute(READ_RUNNING, {"user_ids": list(user_ids)})]


async def read_missed(database: AsyncEngine, user_id: UUID, oldest: int) -> Sequence[RepresentationKey] | None:
    """Returns the account's extractions that may have changed after a position with this `oldest`.

    Returns None when nobody can tell: the position lies in the future, as after the restoration of another database, or
    more than MAX_MISSED_EVENTS events came after it.
    """
    values = {"user_id": user_id, "oldest": oldest, "max_events": MAX_MISSED_EVENTS}
    async with database.connect() as connection:
        if not (await connection.execute(IS_KNOWN, values)).scalar_one():
            return None
        return [key_of(row) for row in await connection.execute(READ_MISSED, values)]


async def read_unended(database: AsyncEngine, user_id: UUID) -> Sequence[RepresentationKey]:
    """Returns the account's extractions that wait or run."""
    async with database.connect() as connection:
        return [key_of(row) for row in await connection.execute(READ_UNENDED, {"user_id": user_id})]


def _position(row: Row[Any]) -> Position:
    return Position(row.snapshot, row.oldest)


def _change(row: Row[Any]) -> Change:
    return Change(row.user_id, key_of(row))

"""The log of life-cycle events, read in an order that misses no event whose transaction commits late.

Ids are assigned before their transaction commits, so "all after the last id" would lose events. The log is read in
windows of transactions instead: every transaction below the oldest running one has ended, so all its events are
visible. Within a window events are ordered by id, so the events of one extraction keep their order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

REPLAY_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Event:
    """id: the same each time the event is sent."""

    id: int
    kind: str
    extraction_id: UUID
    video_id: UUID
    user_id: UUID
    at: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Window:
    """The events of the transactions [low, high) that come after the event `after_id`."""

    low: int
    high: int
    after_id: int


@dataclass(frozen=True, slots=True)
class Replay:
    """What is to be sent again: the events of the transactions from `low` to `last`. count: how many there are now."""

    low: int
    last: int
    count: int


LOCK_CURSOR = text("SELECT low, high, after_id FROM stream_cursor FOR UPDATE SKIP LOCKED")
# The sum keeps the planner from scanning the index of ids from its beginning.
NEXT_WINDOW = text("""
    WITH settled AS (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS high)
    SELECT high, (
        SELECT min(id + 0) FROM events WHERE transaction_id >= :low AND transaction_id < settled.high
    ) AS first
    FROM settled
""")
PAGE = text("""
    SELECT events.id, events.kind, events.extraction_id, extractions.video_id, extractions.user_id, events.at,
        events.data
    FROM events JOIN extractions ON extractions.id = events.extraction_id
    WHERE events.transaction_id >= :low AND events.transaction_id < :high AND events.id > :after_id
    ORDER BY events.id LIMIT :limit
""")
# Transactions that wrote an event since then wrote others before it: they come again too.
REPLAY = text("""
    SELECT low, max(transaction_id) AS last, count(*) AS events
    FROM (SELECT min(transaction_id) AS low FROM events WHERE at >= :since) AS first
    JOIN events ON transaction_id >= low GROUP BY low
""")
# Never forward: what was not sent yet is not passed over.
REWIND = text("UPDATE stream_cursor SET low = :low, high = :low, after_id = 0 WHERE low >= :low")
POSITION = text("SELECT low FROM stream_cursor")
MOVE_CURSOR = text("UPDATE stream_cursor SET low = :low, high = :high, after_id = :after_id")


@asynccontextmanager
async def next_page(database: AsyncEngine, limit: int) -> AsyncIterator[Sequence[Event]]:
    """Yields the next events. They count as sent when the block ends without an error.

    Yields an empty sequence when there are none, and while another relay holds the cursor. A relay that freezes in the
    block loses its lock after IDLE_IN_TRANSACTION_SECONDS.
    """
    async with database.begin() as connection:
        row = (await connection.execute(LOCK_CURSOR)).first()
        window = None if row is None else await _next_window(connection, _Window(row.low, row.high, row.after_id))
        if window is None:
            yield ()
            return
        rows = (await connection.execute(PAGE, _values(window) | {"limit": limit})).all()
        yield [_event(row) for row in rows]
        await connection.execute(MOVE_CURSOR, _values(_following_window(window, rows, limit)))


async def find_replay(database: AsyncEngine, since: datetime) -> Replay | None:
    """Returns what to send again so that all events since then come again; None when there are none."""
    async with database.begin() as connection:
        # No index is by time, because only operators ask for it.
        await connection.execute(text(f"SET LOCAL statement_timeout = '{REPLAY_SECONDS}s'"))
        row = (await connection.execute(REPLAY, {"since": since})).first()
    return None if row is None else Replay(row.low, row.last, row.events)


async def rewind(database: AsyncEngine, replay: Replay) -> None:
    """Moves the cursor back: the relay sends the events again, in their order, and then goes on."""
    async with database.begin() as connection:
        await connection.execute(REWIND, {"low": replay.low})


async def is_sent(database: AsyncEngine, replay: Replay) -> bool:
    """Returns whether all of it has been sent."""
    async with database.connect() as connection:
        return int((await connection.execute(POSITION)).scalar_one()) > replay.last


async def _next_window(connection: AsyncConnection, window: _Window) -> _Window | None:
    """Returns the window that is being sent, or the next one; None when it holds no event."""
    if window.low < window.high:
        return window
    row = (await connection.execute(NEXT_WINDOW, {"low": window.high})).one()
    return None if row.first is None else _Window(window.high, row.high, row.first - 1)


def _following_window(window: _Window, rows: Sequence[Row[Any]], limit: int) -> _Window:
    if len(rows) < limit:
        return _Window(window.high, window.high, 0)
    return _Window(window.low, window.high, rows[-1].id)


def _values(window: _Window) -> dict[str, int]:
    return {"low": window.low, "high": window.high, "after_id": window.after_id}


def _event(row: Row[Any]) -> Event:
    return Event(**{name: getattr(row, name) for name in Event.__slots__})

"""What the database knows of an extraction's history, for operators: the whole events, and the ids in its logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.values.lifecycle import EXTRACTION_TRANSITIONS, ExtractionStatus
from db.values.trace_context import parse_traceparent


@dataclass(frozen=True, slots=True)
class TrailEvent:
    id: int
    at: datetime
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trail:
    """request_id, trace_id: of the request that was accepted, also after `ops requeue`; None without one.
    events: oldest first.
    """

    has_ended: bool
    request_id: str | None
    trace_id: str | None
    events: Sequence[TrailEvent]


HEAD = text("SELECT status, request_id, traceparent FROM extractions WHERE id = :extraction_id")
NEWEST_EVENTS = text("""
    SELECT id, at, kind, data FROM events
    WHERE extraction_id = :extraction_id AND id > :after ORDER BY id DESC LIMIT :limit
""")


async def read_trail(database: AsyncEngine, extraction_id: UUID, *, limit: int, after: int = 0) -> Trail | None:
    """Returns the newest events after the id `after`; None when there is no such extraction."""
    values = {"extraction_id": extraction_id, "after": after, "limit": limit}
    async with database.connect() as connection:
        head = (await connection.execute(HEAD, values)).first()
        if head is None:
            return None
        rows = (await connection.execute(NEWEST_EVENTS, values)).all()
    context = parse_traceparent(head.traceparent)
    events = [TrailEvent(row.id, row.at, row.kind, row.data) for row in reversed(rows)]
    has_ended = not EXTRACTION_TRANSITIONS[ExtractionStatus(head.status)]
    return Trail(has_ended, head.request_id, None if context is None else context.trace_id, events)

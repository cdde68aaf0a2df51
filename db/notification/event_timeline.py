"""What happened to one extraction, in order, from the events that every transition leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

TOLD = ("attempt", "segment", "segments", "blame", "code", "detail", "channel", "from", "frames", "frames_total")
"""Facts of an event that its owner is told; a worker's name and the like are the operator's."""


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One event. id: rises within an extraction. facts: those of TOLD that it has."""

    id: int
    at: datetime
    kind: str
    facts: Mapping[str, Any]


READ = text("""
    SELECT id, at, kind, data FROM events
    WHERE extraction_id = :extraction_id AND id > :after ORDER BY id LIMIT :limit
""")


async def read(database: AsyncEngine, extraction_id: UUID, *, after: int = 0, limit: int = 50) -> list[TimelineEvent]:
    """The events after the one with id `after`, oldest first. Access is the caller's to have checked."""
    values = {"extraction_id": extraction_id, "after": after, "limit": limit}
    async with database.connect() as connection:
        rows = (await connection.execute(READ, values)).all()
    return [TimelineEvent(row.id, row.at, row.kind, facts_of(row.data)) for row in rows]


def facts_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """What of an event's data is for the owner."""
    facts = {name: data[name] for name in TOLD if data.get(name) is not None}
    if facts.get("blame") == "service":
        # What a store or database says when it fails names places inside.
        facts["detail"] = "A part of the service was away; the work goes on when it is back."
    return facts

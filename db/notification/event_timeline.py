"""The time line of an extraction: the events that its transitions have written, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

PUBLIC_FACTS = (
    "attempt",
    "segment",
    "segments",
    "blame",
    "code",
    "detail",
    "channel",
    "from",
    "frames",
    "frames_total",
)
"""The facts of an event that its owner may see. Others, such as the worker's name, are for operators."""


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One event. id: ascending within an extraction. facts: the PUBLIC_FACTS that it has."""

    id: int
    at: datetime
    kind: str
    facts: Mapping[str, Any]


READ = text("""
    SELECT id, at, kind, data FROM events
    WHERE extraction_id = :extraction_id AND id > :after ORDER BY id LIMIT :limit
""")


async def read(database: AsyncEngine, extraction_id: UUID, *, after: int = 0, limit: int = 50) -> list[TimelineEvent]:
    """Returns the events after the id `after`, oldest first. The caller must have checked access."""
    values = {"extraction_id": extraction_id, "after": after, "limit": limit}
    async with database.connect() as connection:
        rows = (await connection.execute(READ, values)).all()
    return [TimelineEvent(row.id, row.at, row.kind, public_facts(row.data)) for row in rows]


def public_facts(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of an event's data that its owner may see."""
    facts = {name: data[name] for name in PUBLIC_FACTS if data.get(name) is not None}
    if facts.get("blame") == "service":
        # The error text of a store or a database names internal addresses.
        facts["detail"] = "A part of the service was away; the work goes on when it is back."
    return facts

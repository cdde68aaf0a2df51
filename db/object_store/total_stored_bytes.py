"""How many bytes the objects have, as the rows know it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """originals: of videos. results: of archives. uploads: what has arrived of uploads that are not complete."""

    originals: int
    results: int
    uploads: int


STORED_BYTES = text("""
    SELECT (SELECT coalesce(sum(size), 0) FROM videos WHERE removed_at IS NULL) AS originals,
        (SELECT coalesce(sum(bytes), 0) FROM results WHERE removed_at IS NULL) AS results,
        (SELECT coalesce(sum(received), 0) FROM uploads WHERE completed_at IS NULL AND discarded_at IS NULL) AS uploads
""")


async def stored_bytes(database: AsyncEngine) -> StoredBytes:
    async with database.connect() as connection:
        row = (await connection.execute(STORED_BYTES)).one()
    return StoredBytes(int(row.originals), int(row.results), int(row.uploads))

"""Which objects maintenance may delete. Rows are marked first, objects deleted second, rows deleted last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True, slots=True)
class Ended:
    """An ended extraction whose objects are not swept yet. kept: prefix of its result, if it has one."""

    extraction_id: UUID
    kept: str | None


# While a backup runs, nothing is deleted that its dump may refer to.
_NOT_HELD = "NOT EXISTS (SELECT FROM operator_controls WHERE deletion_held_until > clock_timestamp())"
GARBAGE = text(f"""
    SELECT object_key FROM garbage
    WHERE created_at < clock_timestamp() - make_interval(secs => :seconds) AND {_NOT_HELD}
    ORDER BY created_at LIMIT :limit
""")
FORGET_GARBAGE = text("DELETE FROM garbage WHERE object_key = ANY(:keys)")
UNSWEPT = text(f"""
    SELECT id, result_key FROM extractions
    WHERE finished_at < clock_timestamp() - make_interval(secs => :seconds) AND NOT swept AND {_NOT_HELD}
    ORDER BY finished_at LIMIT :limit
""")
SWEPT = text("UPDATE extractions SET swept = true WHERE id = ANY(:ids) AND NOT swept")


async def garbage(database: AsyncEngine, *, seconds: float, limit: int = 100) -> list[str]:
    """Returns keys of objects whose rows were deleted, or prefixes that end with a slash.

    Only those older than `seconds`: before, a worker may not know yet that its lease is lost.
    """
    async with database.connect() as connection:
        rows = await connection.execute(GARBAGE, {"seconds": seconds, "limit": limit})
        return list(rows.scalars().all())


async def forget_garbage(database: AsyncEngine, keys: Sequence[str]) -> None:
    async with database.begin() as connection:
        await connection.execute(FORGET_GARBAGE, {"keys": list(keys)})


async def unswept(database: AsyncEngine, *, seconds: float, limit: int = 100) -> list[Ended]:
    """Returns extractions that ended at least `seconds` ago and may still have objects of lost attempts."""
    async with database.connect() as connection:
        rows = (await connection.execute(UNSWEPT, {"seconds": seconds, "limit": limit})).all()
    return [Ended(row.id, row.result_key) for row in rows]


async def mark_swept(database: AsyncEngine, ids: Sequence[UUID]) -> None:
    async with database.begin() as connection:
        await connection.execute(SWEPT, {"ids": list(ids)})

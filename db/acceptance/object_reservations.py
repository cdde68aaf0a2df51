"""Reservations: an object is announced in a committed row before its first byte is written.

The accepting transaction deletes the row. A reservation that is never accepted is marked as abandoned first, its object
is deleted second, and the row last, so that no crash leaves an object that nothing knows of.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.values.error_catalogue import CatalogueError

RESERVE = text("""
    INSERT INTO reservations (object_key, user_id)
    SELECT :object_key, id FROM users WHERE id = :user_id AND erased_at IS NULL FOR KEY SHARE
    RETURNING object_key
""")

# Marked, not deleted: the objects are deleted first, the row after them.
ABANDON = text("""
    UPDATE reservations SET abandoned_at = coalesce(abandoned_at, now()) WHERE object_key = ANY(:keys)
    RETURNING object_key
""")

# The upload that goes on finds no reservation, so it can't be accepted. Its object is deleted as garbage.
DISOWN_ALL = text("""
    WITH given_up AS (DELETE FROM reservations WHERE user_id = :user_id RETURNING object_key)
    INSERT INTO garbage (object_key) SELECT object_key FROM given_up ON CONFLICT DO NOTHING
""")

ABANDON_EXPIRED = text("""
    UPDATE reservations SET abandoned_at = coalesce(abandoned_at, now())
    WHERE object_key IN (
        SELECT object_key FROM reservations
        WHERE abandoned_at IS NOT NULL OR created_at < clock_timestamp() - make_interval(secs => :seconds)
        ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    RETURNING object_key
""")

DELETE_ABANDONED = text("DELETE FROM reservations WHERE object_key = ANY(:keys) AND abandoned_at IS NOT NULL")


async def reserve(database: AsyncEngine, user_id: UUID, object_key: str) -> None:
    """Commits that an object is about to be written. Raises CatalogueError `unauthenticated` for an erased account."""
    async with database.begin() as connection:
        if (await connection.execute(RESERVE, {"object_key": object_key, "user_id": user_id})).first() is None:
            raise CatalogueError("unauthenticated", "The account was erased.")


async def abandon(database: AsyncEngine, object_keys: Sequence[str]) -> list[str]:
    """Marks reservations whose objects will not be accepted; maintenance deletes their objects.

    Returns the keys that were marked, whose objects may go: a key that is missing was accepted meanwhile.
    """
    async with database.begin() as connection:
        return list((await connection.execute(ABANDON, {"keys": list(object_keys)})).scalars())


async def abandon_expired(database: AsyncEngine, *, seconds: float, limit: int = 100) -> list[str]:
    """Marks reservations older than `seconds` as abandoned; returns the keys of all that are marked."""
    async with database.begin() as connection:
        rows = await connection.execute(ABANDON_EXPIRED, {"seconds": seconds, "limit": limit})
        return list(rows.scalars().all())


async def disown_all(database: AsyncEngine, user_id: UUID) -> None:
    """Turns all reservations of an account into garbage: none of its uploads can be accepted any more."""
    async with database.begin() as connection:
        await connection.execute(DISOWN_ALL, {"user_id": user_id})


async def delete_abandoned(database: AsyncEngine, keys: Sequence[str]) -> None:
    """Deletes reservations whose objects are gone; those that are not marked as abandoned stay."""
    async with database.begin() as connection:
        await connection.execute(DELETE_ABANDONED, {"keys": list(keys)})

"""The erasure of an account: everything that it owns is deleted, and the ledger still counts its acceptances.

The account is marked first, in one transaction: from then on nobody can log in, its sessions are over, nothing more is
accepted for it, and its row has no personal data. Then its videos are deleted one by one, and its row last. Each step
is a transaction of its own and can be repeated, so maintenance continues an erasure that was interrupted. Acceptances
and tombstones stay, because they are the ledger; they contain random ids and times only.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from db import videos
from db.acceptance import object_reservations, resumable_uploads

MAX_ROWS = 1000
"""The most rows that one transaction deletes."""

# A new value in a unique column conflicts with every reference to the row. So a concurrent write for the account is
# either committed before the mark, or refused after it.
MARK = text("""
    UPDATE users SET erased_at = clock_timestamp(), email = NULL, name = '', password_hash = '', locale = 'en',
        notify = 'none', role = 'user', disabled_at = NULL
    WHERE id = :user_id AND erased_at IS NULL RETURNING id
""")
DELETE_WEBHOOKS = text("DELETE FROM webhooks WHERE user_id = :user_id")
MARKED = text("SELECT id FROM users WHERE erased_at IS NOT NULL ORDER BY erased_at LIMIT :limit")
# Videos with running extractions come first, then queued ones: their deletion frees workers and places in the queue.
NEXT_VIDEOS = text("""
    (SELECT video_id, 1 AS place FROM extractions WHERE user_id = :user_id AND status = 'running' LIMIT :limit)
    UNION ALL
    (SELECT video_id, 2 FROM extractions WHERE user_id = :user_id AND status = 'queued' LIMIT :limit)
    UNION ALL
    (SELECT id, 3 FROM videos WHERE user_id = :user_id ORDER BY id DESC LIMIT :limit)
    ORDER BY place
""")
DELETE_ROWS = tuple(
    text(f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {condition} LIMIT :limit))")
    for table, condition in (
        ("sessions", "user_id = :user_id"),
        ("api_keys", "user_id = :user_id"),
        ("presets", "user_id = :user_id"),
        ("idempotency_keys", "user_id = :user_id"),
        ("planned_durations", "user_id = :user_id"),
        ("uploads", "user_id = :user_id AND discarded_at IS NOT NULL"),
    )
)
LOCK = text("SELECT id FROM users WHERE id = :user_id AND erased_at IS NOT NULL FOR UPDATE")
# The deletion cascades to all rows that refer to the account, and writes no tombstones and no garbage for them. So no
# row may be left that needs these.
DELETE = text("""
    DELETE FROM users WHERE id = :user_id
      AND NOT EXISTS (SELECT FROM videos WHERE user_id = :user_id)
      AND NOT EXISTS (SELECT FROM reservations WHERE user_id = :user_id)
      AND NOT EXISTS (
          SELECT FROM uploads WHERE user_id = :user_id AND completed_at IS NULL AND discarded_at IS NULL)
""")


async def mark(database: AsyncEngine, user_id: UUID) -> bool:
    """Marks the account: from now on its erasure is certain. False when there is no such account, or it was marked."""
    async with database.begin() as connection:
        if (await connection.execute(MARK, {"user_id": user_id})).first() is None:
            return False
        await connection.execute(DELETE_WEBHOOKS, {"user_id": user_id})
        return True


async def erase(database: AsyncEngine, user_id: UUID, *, max_videos: int) -> bool:
    """Continues the erasure of a marked account: deletes at most `max_videos` videos. False when some of it is left."""
    # After these two steps no video can be added: each one comes from a reservation or an open upload.
    await object_reservations.disown_all(database, user_id)
    while await resumable_uploads.discard_of_user(database, user_id):
        pass
    for statement in DELETE_ROWS:
        while await _execute(database, statement, user_id) == MAX_ROWS:
            pass
    for video_id in await _next_videos(database, user_id, max_videos):
        await videos.delete(database, user_id, video_id)
    async with database.begin() as connection:
        if (await connection.execute(LOCK, {"user_id": user_id})).first() is None:
            return True
        return (await connection.execute(DELETE, {"user_id": user_id})).rowcount == 1


async def marked_accounts(database: AsyncEngine, *, limit: int = 10) -> list[UUID]:
    """Returns accounts that are marked and not deleted yet, the oldest marks first."""
    async with database.connect() as connection:
        return list((await connection.execute(MARKED, {"limit": limit})).scalars())


async def _execute(database: AsyncEngine, statement: TextClause, user_id: UUID) -> int:
    async with database.begin() as connection:
        return (await connection.execute(statement, {"user_id": user_id, "limit": MAX_ROWS})).rowcount


async def _next_videos(database: AsyncEngine, user_id: UUID, limit: int) -> list[UUID]:
    async with database.connect() as connection:
        found = await connection.execute(NEXT_VIDEOS, {"user_id": user_id, "limit": limit})
        return list(dict.fromkeys(found.scalars()))[:limit]

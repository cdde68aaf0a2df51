"""Removes the files of expired results and the bytes of old videos. Their rows stay.

Rows are marked first. The same transaction adds garbage rows, by which maintenance deletes the objects.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

REMOVE_RESULTS = text("""
    WITH expired AS (
        SELECT key FROM results WHERE removed_at IS NULL AND expires_at <= clock_timestamp()
        ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), removed AS (
        UPDATE results SET removed_at = clock_timestamp() FROM expired WHERE results.key = expired.key
        RETURNING extraction_id
    ), objects AS (
        INSERT INTO garbage (object_key) SELECT 'results/' || extraction_id || '/' FROM removed ON CONFLICT DO NOTHING
    )
    SELECT extraction_id FROM removed
""")
LOCK_OLD_VIDEOS = text("""
    SELECT id FROM videos
    WHERE removed_at IS NULL AND created_at < clock_timestamp() - make_interval(secs => :seconds)
      AND NOT EXISTS (SELECT 1 FROM extractions WHERE video_id = videos.id AND status IN ('queued', 'running'))
    ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED
""")
# A statement of its own sees the extractions that were added before the videos were locked.
REMOVE_VIDEOS = text("""
    WITH removed AS (
        UPDATE videos SET removed_at = clock_timestamp()
        WHERE id = ANY(:ids)
          AND NOT EXISTS (SELECT 1 FROM extractions WHERE video_id = videos.id AND status IN ('queued', 'running'))
        RETURNING id, object_key
    ), chunks AS (
        DELETE FROM upload_chunks USING removed WHERE upload_id = removed.id
    ), objects AS (
        INSERT INTO garbage (object_key) SELECT object_key FROM removed ON CONFLICT DO NOTHING
    )
    SELECT id FROM removed
""")


async def remove_expired_results(database: AsyncEngine, *, limit: int = 100) -> int:
    """Removes the files of expired results; returns how many results expired."""
    async with database.begin() as connection:
        return len((await connection.execute(REMOVE_RESULTS, {"limit": limit})).all())


async def remove_old_videos(database: AsyncEngine, *, seconds: float, limit: int = 100) -> int:
    """Removes the bytes of videos older than `seconds` without a queued or running extraction; returns how many."""
    async with database.begin() as connection:
        ids = (await connection.execute(LOCK_OLD_VIDEOS, {"seconds": seconds, "limit": limit})).scalars().all()
        return len((await connection.execute(REMOVE_VIDEOS, {"ids": list(ids)})).all())

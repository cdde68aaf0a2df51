"""Reads what an estimate is computed from: what the probe of a video found, and the account's latest results."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.values import frame_spec
from db.values.extraction_estimate import EarlierResult, MediaFacts

MAX_RESULTS = 20

MEDIA = text("SELECT media FROM videos WHERE id = :video_id AND user_id = :user_id")
# First results of the same video, then the newest of the others.
EARLIER_RESULTS = text("""
    SELECT * FROM (
        (SELECT *, true AS is_same_video FROM extractions
         WHERE user_id = :user_id AND status = 'succeeded' AND NOT reused AND video_id = CAST(:video_id AS uuid)
         ORDER BY id DESC LIMIT :limit)
        UNION ALL
        (SELECT *, false AS is_same_video FROM extractions
         WHERE user_id = :user_id AND status = 'succeeded' AND NOT reused
           AND video_id IS DISTINCT FROM CAST(:video_id AS uuid)
         ORDER BY id DESC LIMIT :limit)
    ) AS latest JOIN LATERAL (SELECT media FROM videos WHERE videos.id = latest.video_id) AS video ON true
    WHERE video.media IS NOT NULL
""")


async def media_of(database: AsyncEngine, user_id: UUID, video_id: UUID) -> tuple[bool, MediaFacts | None]:
    """Returns whether the account has the video, and what its probe found; None before the probe."""
    async with database.connect() as connection:
        row = (await connection.execute(MEDIA, {"video_id": video_id, "user_id": user_id})).first()
    return row is not None, None if row is None or row.media is None else _facts(row.media)


async def earlier_results(database: AsyncEngine, user_id: UUID, video_id: UUID | None) -> list[EarlierResult]:
    """Returns the account's latest results, with those of the video, if there are any."""
    values = {"user_id": user_id, "video_id": video_id, "limit": MAX_RESULTS}
    async with database.connect() as connection:
        rows = (await connection.execute(EARLIER_RESULTS, values)).all()
    return [
        EarlierResult(
            media=_facts(row.media),
            spec=frame_spec.parse(row.spec),
            frames=row.result_frames,
            size=row.result_bytes,
            # A split extraction ran on several workers, and a retried one waited between its attempts.
            seconds=(row.finished_at - row.started_at).total_seconds()
            if row.segments_left is None and row.attempt == 1
            else None,
            is_same_video=row.is_same_video,
        )
        for row in rows
    ]


def _facts(media: dict[str, Any]) -> MediaFacts:
    return MediaFacts(**{name: media[name] for name in MediaFacts.__slots__ if name in media})

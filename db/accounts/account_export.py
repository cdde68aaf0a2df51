"""Reads the rows of an account for its export, page by page, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

PAGE_ROWS = 200


@dataclass(frozen=True, slots=True)
class SessionRow:
    id: UUID
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class VideoRow:
    """An accepted video. object_key: None when its bytes were removed because the video is old."""

    id: UUID
    filename: str
    size: int
    sha256: str | None
    media: dict[str, Any] | None
    created_at: datetime
    object_key: str | None


@dataclass(frozen=True, slots=True)
class UploadRow:
    """An upload that is not complete."""

    id: UUID
    filename: str
    size: int | None
    received: int
    created_at: datetime
    expires_at: datetime


SESSIONS = text("""
    SELECT id, created_at, expires_at, revoked_at FROM sessions
    WHERE user_id = :user_id AND (CAST(:after AS uuid) IS NULL OR id > :after) ORDER BY id LIMIT :limit
""")
VIDEOS = text("""
    SELECT id, filename, size, sha256, media, created_at, CASE WHEN removed_at IS NULL THEN object_key END AS object_key
    FROM videos
    WHERE user_id = :user_id AND (CAST(:after AS uuid) IS NULL OR id > :after) ORDER BY id LIMIT :limit
""")
OPEN_UPLOADS = text("""
    SELECT id, filename, size, received, created_at, expires_at FROM uploads
    WHERE user_id = :user_id AND completed_at IS NULL AND discarded_at IS NULL
      AND (CAST(:after AS uuid) IS NULL OR id > :after)
    ORDER BY id LIMIT :limit
""")
EXTRACTIONS = text("""
    SELECT id FROM extractions
    WHERE video_id = :video_id AND user_id = :user_id AND (CAST(:after AS uuid) IS NULL OR id > :after)
    ORDER BY id LIMIT :limit
""")


async def sessions(database: AsyncEngine, user_id: UUID) -> AsyncIterator[SessionRow]:
    async for row in _rows(database, SESSIONS, "id", {"user_id": user_id}):
        yield SessionRow(row.id, row.created_at, row.expires_at, row.revoked_at)


async def videos(database: AsyncEngine, user_id: UUID) -> AsyncIterator[VideoRow]:
    async for row in _rows(database, VIDEOS, "id", {"user_id": user_id}):
        yield VideoRow(row.id, row.filename, row.size, row.sha256, row.media, row.created_at, row.object_key)


async def open_uploads(database: AsyncEngine, user_id: UUID) -> AsyncIterator[UploadRow]:
    async for row in _rows(database, OPEN_UPLOADS, "id", {"user_id": user_id}):
        yield UploadRow(row.id, row.filename, row.size, row.received, row.created_at, row.expires_at)


async def extraction_ids(database: AsyncEngine, user_id: UUID, video_id: UUID) -> AsyncIterator[UUID]:
    async for row in _rows(database, EXTRACTIONS, "id", {"user_id": user_id, "video_id": video_id}):
        yield row.id


async def _rows(
    database: AsyncEngine, statement: TextClause, column: str, values: Mapping[str, UUID]
) -> AsyncIterator[Row[Any]]:
    """Reads page by page. column: the one by which the rows are ordered. Between two pages no connection is in use."""
    after: UUID | str | None = None
    while True:
        async with database.connect() as connection:
            page = (await connection.execute(statement, {**values, "after": after, "limit": PAGE_ROWS})).all()
        for row in page:
            yield row
        if len(page) < PAGE_ROWS:
            return
        after = getattr(page[-1], column)

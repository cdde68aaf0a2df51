"""Reading and deleting videos and their extractions.

A list is read in two steps. The first reads the keys (which rows, in which version) from an index; the second reads
only the rows whose representation the cache does not have in that version. The first step decides about access, so
Postgres alone does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.queue import task_queue
from db.values.lifecycle import ExtractionStatus, is_terminal

QUEUE_POSITIONS = 1000
"""Queue positions are counted up to this one; beyond it the position is None."""


@dataclass(frozen=True, slots=True)
class RepresentationKey:
    """One version of one extraction of one video: it identifies an immutable representation."""

    video_id: UUID
    extraction_id: UUID
    version: int
    status: ExtractionStatus


@dataclass(frozen=True, slots=True)
class ExtractionRow:
    """spec: canonical text. elapsed_seconds: since the first claim. queue_position: from 1; None when not waiting."""

    id: UUID
    video_id: UUID
    spec: str
    status: ExtractionStatus
    reused: bool
    attempt: int
    version: int
    frames_done: int
    frames_total: int | None
    error_code: str | None
    error_detail: str | None
    result_key: str | None
    result_frames: int | None
    result_bytes: int | None
    result_sha256: str | None
    result_warnings: list[dict[str, Any]] | None
    result_expires_at: datetime | None
    result_has_expired: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    elapsed_seconds: float | None
    queue_position: int | None


@dataclass(frozen=True, slots=True)
class VideoRow:
    id: UUID
    filename: str
    size: int
    sha256: str | None
    media: dict[str, Any] | None
    created_at: datetime
    extraction: ExtractionRow


KEY_COLUMNS = "extractions.video_id, extractions.id AS extraction_id, extractions.version, extractions.status"
"""The columns of a RepresentationKey."""

LIST = text(f"""
    SELECT {KEY_COLUMNS}
    FROM videos CROSS JOIN LATERAL (
        SELECT * FROM extractions WHERE extractions.video_id = videos.id ORDER BY extractions.id DESC LIMIT 1
    ) AS extractions
    WHERE videos.user_id = :user_id
      AND (CAST(:before AS uuid) IS NULL OR videos.id < :before)
      AND (CAST(:status AS extraction_status) IS NULL OR extractions.status = :status)
      AND (CAST(:words AS text) IS NULL OR strpos(lower(videos.filename), lower(:words)) > 0)
      AND (CAST(:sha256 AS text) IS NULL OR videos.sha256 = :sha256)
    ORDER BY videos.id DESC LIMIT :limit
""")
VIDEO_KEY = text(f"""
    SELECT {KEY_COLUMNS} FROM extractions WHERE video_id = :id AND user_id = :user_id ORDER BY id DESC LIMIT 1
""")
EXTRACTION_KEY = text(f"SELECT {KEY_COLUMNS} FROM extractions WHERE id = :id AND user_id = :user_id")

_EXTRACTION = """
    extractions.id, extractions.video_id, extractions.spec, extractions.status, extractions.reused,
    extractions.attempt, extractions.version, extractions.frames_done, extractions.frames_total,
    extractions.error_code, extractions.error_detail, extractions.result_key, extractions.result_frames,
    extractions.result_bytes, extractions.result_sha256, extractions.result_warnings, extractions.result_expires_at,
    coalesce(extractions.result_expires_at <= clock_timestamp(), false) AS result_has_expired, extractions.created_at,
    extractions.started_at, extractions.finished_at,
    extract(epoch FROM clock_timestamp() - extractions.started_at) AS elapsed_seconds
"""
READ_ROWS = text(f"""
    SELECT {_EXTRACTION}, videos.filename, videos.size, videos.sha256, videos.media,
        videos.created_at AS video_created_at
    FROM extractions JOIN videos ON videos.id = extractions.video_id
    WHERE extractions.id = ANY(:ids)
""")
# Throttled tasks count at the place of their tag: they become ready as earlier ones end.
_WAITING = """(
                SELECT extraction_id, priority, virtual_finish, id FROM tasks
                WHERE state = '{state}'
                ORDER BY priority DESC, virtual_finish, id LIMIT :most
            )"""
POSITIONS = text(f"""
    SELECT extraction_id, position
    FROM (
        SELECT extraction_id, row_number() OVER () AS position
        FROM (
            {_WAITING.format(state="ready")} UNION ALL {_WAITING.format(state="throttled")}
            ORDER BY priority DESC, virtual_finish, id LIMIT :most
        ) AS waiting
    ) AS placed
    WHERE extraction_id = ANY(:ids)
""")

EXTRACTIONS = text("SELECT id FROM extractions WHERE video_id = :video_id AND user_id = :user_id ORDER BY id")
OWNED = text(f"{EXTRACTIONS.text} FOR UPDATE")
LOCK_TASKS = text("""
    SELECT tasks.id FROM tasks JOIN extractions ON extractions.id = tasks.extraction_id
    WHERE extractions.video_id = :video_id AND extractions.user_id = :user_id
    ORDER BY tasks.id FOR UPDATE OF tasks
""")
# New extractions wait for this lock, so the next statement sees all extractions that the video will ever have.
LOCK_VIDEO = text("SELECT id FROM videos WHERE id = :video_id AND user_id = :user_id FOR UPDATE")
# A result that is being shared with another video waits here, and is then seen by the next statement.
LOCK_RESULTS = text("""
    SELECT key FROM results WHERE key IN (SELECT result_key FROM extractions WHERE video_id = :video_id)
    ORDER BY key FOR UPDATE
""")
# The tombstones keep the ledger complete; maintenance deletes the objects.
DELETE = text("""
    WITH ended AS (
        INSERT INTO tombstones (extraction_id, user_id, status)
        SELECT id, user_id, status FROM extractions WHERE video_id = :video_id
    ), unused AS (
        DELETE FROM results
        WHERE key IN (SELECT result_key FROM extractions WHERE video_id = :video_id)
          AND NOT EXISTS (SELECT 1 FROM extractions AS other
                WHERE other.result_key = results.key AND other.video_id <> :video_id)
        RETURNING extraction_id
    ), results AS (
        INSERT INTO garbage (object_key)
        SELECT 'results/' || id || '/' FROM (
            SELECT id FROM extractions WHERE video_id = :video_id AND NOT EXISTS (
                SELECT 1 FROM results WHERE results.extraction_id = extractions.id
                  AND results.extraction_id NOT IN (SELECT extraction_id FROM unused))
            UNION SELECT extraction_id FROM unused
        ) AS unneeded
        ON CONFLICT DO NOTHING
    ), bytes AS (
        INSERT INTO garbage (object_key) SELECT object_key FROM videos WHERE id = :video_id ON CONFLICT DO NOTHING
    ), upload AS (
        DELETE FROM uploads WHERE id = :video_id
    )
    DELETE FROM videos WHERE id = :video_id AND user_id = :user_id
""")


async def list_keys(
    database: AsyncEngine,
    user_id: UUID,
    *,
    limit: int,
    before: UUID | None = None,
    status: ExtractionStatus | None = None,
    words: str | None = None,
    sha256: str | None = None,
) -> list[RepresentationKey]:
    """Returns the caller's videos with their newest extraction, newest first. before: the last id of the previous
    page.
    """
    values = {"user_id": user_id, "limit": limit, "before": before, "words": words, "sha256": sha256}
    async with database.connect() as connection:
        rows = (await connection.execute(LIST, values | {"status": None if status is None else str(status)})).all()
    return [key_of(row) for row in rows]


async def video_key_of(database: AsyncEngine, user_id: UUID, video_id: UUID) -> RepresentationKey | None:
    """Returns the newest extraction of one of the caller's videos."""
    return await _one_key(database, VIDEO_KEY, user_id, video_id)


async def extraction_key_of(database: AsyncEngine, user_id: UUID, extraction_id: UUID) -> RepresentationKey | None:
    """Returns one of the caller's extractions."""
    return await _one_key(database, EXTRACTION_KEY, user_id, extraction_id)


async def read_rows(database: AsyncEngine, extraction_ids: Sequence[UUID]) -> dict[UUID, VideoRow]:
    """Returns videos, each with one extraction, by the extraction's id. The caller must have checked access."""
    if not extraction_ids:
        return {}
    async with database.connect() as connection:
        return await read_rows_within(connection, extraction_ids)


async def read_rows_within(connection: AsyncConnection, extraction_ids: Sequence[UUID]) -> dict[UUID, VideoRow]:
    """The same as `read_rows`, in the caller's transaction."""
    rows = (await connection.execute(READ_ROWS, {"ids": list(extraction_ids)})).all()
    waiting = [row.id for row in rows if row.status == ExtractionStatus.QUEUED]
    positions = await _positions(connection, waiting)
    return {row.id: _video_of(row, positions.get(row.id)) for row in rows}


async def delete(database: AsyncEngine, user_id: UUID, video_id: UUID) -> bool:
    """Cancels the running extractions of a video, then deletes it with all results. False when the caller has no
    such video.
    """
    while (deleted := await _delete_locked(database, {"video_id": video_id, "user_id": user_id})) is None:
        pass
    return deleted


async def _delete_locked(database: AsyncEngine, mine: Mapping[str, UUID]) -> bool | None:
    """Returns None when an extraction was added while this call waited for the video's lock: its task is not locked,
    and to lock it now would break the order of the locks."""
    async with database.begin() as connection:
        await task_queue.lock_all(connection, LOCK_TASKS, mine)
        owned = (await connection.execute(OWNED, mine)).scalars().all()
        if (await connection.execute(LOCK_VIDEO, mine)).first() is None:
            return False
        if (await connection.execute(EXTRACTIONS, mine)).scalars().all() != owned:
            return None
        for extraction_id in owned:
            await task_queue.cancel(connection, extraction_id)
        await connection.execute(LOCK_RESULTS, mine)
        await connection.execute(DELETE, mine)
        return True


async def _one_key(database: AsyncEngine, statement: Any, user_id: UUID, wanted: UUID) -> RepresentationKey | None:
    async with database.connect() as connection:
        row = (await connection.execute(statement, {"user_id": user_id, "id": wanted})).first()
    return None if row is None else key_of(row)


async def _positions(connection: AsyncConnection, waiting: Sequence[UUID]) -> dict[UUID, int]:
    if not waiting:
        return {}
    rows = await connection.execute(POSITIONS, {"ids": list(waiting), "most": QUEUE_POSITIONS})
    return {row.extraction_id: int(row.position) for row in rows}


def key_of(row: Row[Any]) -> RepresentationKey:
    """The key in a row that has KEY_COLUMNS."""
    return RepresentationKey(row.video_id, row.extraction_id, row.version, ExtractionStatus(row.status))


def _video_of(row: Row[Any], position: int | None) -> VideoRow:
    return VideoRow(
        id=row.video_id,
        filename=row.filename,
        size=row.size,
        sha256=row.sha256,
        media=row.media,
        created_at=row.video_created_at,
        extraction=_extraction_of(row, position),
    )


def _extraction_of(row: Row[Any], position: int | None) -> ExtractionRow:
    stored = {name: getattr(row, name) for name in ExtractionRow.__slots__ if name not in _COMPUTED}
    status = ExtractionStatus(row.status)
    elapsed = None if row.elapsed_seconds is None or is_terminal(status) else float(row.elapsed_seconds)
    return ExtractionRow(**stored | {"status": status, "elapsed_seconds": elapsed, "queue_position": position})


_COMPUTED = {"status", "elapsed_seconds", "queue_position"}

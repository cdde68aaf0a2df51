"""Reading and deleting videos and their extractions.

A list is read in two steps. The first reads the keys (which rows, in which version) from an index; the second reads
only the rows whose representation the cache does not have in that version. The first step decides about access, so
Postgres alone does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.queue import task_queue
from db.values.error_catalogue import CatalogueError
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
    """spec: canonical text. elapsed_seconds: since the first claim. queue_position: from 1; None when not waiting.
    preview_…: while it runs, the preview of its task, or of the last segment that has one, with the number of images.
    """

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
    preview_key: str | None
    preview_frames: int | None
    preview_segment: int | None
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


# How rare the words and the status are decides from which table a search begins: a plan for any words does not know it.
# The planner takes words for rarer than they are, and the whole table for cheaper than the index of an account that has
# most of it, or divides the index among processes that have to start first: 35 and 50 ms, where the index, which is in
# the order of the page, gives 50 of 100,000 in 6 ms.
PLAN_SEARCH = text("""
    SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_seqscan', 'off', true),
        set_config('max_parallel_workers_per_gather', '0', true)
""")

KEY_COLUMNS = "extractions.video_id, extractions.id AS extraction_id, extractions.version, extractions.status"
"""The columns of a RepresentationKey."""

_PAGE_BY_VIDEO = f"""
    SELECT {KEY_COLUMNS}
    FROM (SELECT id FROM videos WHERE user_id = :user_id{{conditions}} ORDER BY id DESC LIMIT :limit) AS videos
    CROSS JOIN LATERAL (
        SELECT * FROM extractions WHERE extractions.video_id = videos.id ORDER BY extractions.id DESC LIMIT 1
    ) AS extractions
    ORDER BY videos.id DESC
"""
_PAGE_BY_STATUS = f"""
    SELECT {KEY_COLUMNS}
    FROM extractions{{join}}
    WHERE extractions.user_id = :user_id AND {{state}}
      AND NOT EXISTS (
        SELECT FROM extractions AS newer WHERE newer.video_id = extractions.video_id AND newer.id > extractions.id
      ){{conditions}}
    ORDER BY extractions.video_id DESC LIMIT :limit
"""
_LIKE_SPECIAL = re.compile(r"[%_\\]")
_JOIN = " JOIN videos ON videos.id = extractions.video_id AND videos.user_id = extractions.user_id"
_WITH_STATUS = "extractions.status = :status"
# In the words of the partial index.
_WITH_WARNINGS = "extractions.status = 'succeeded' AND extractions.result_warnings <> '[]'"
_CONDITIONS = {
    "before": " AND videos.id < :before",
    "words": " AND videos.filename_lower LIKE '%' || lower(:words) || '%'",
    "sha256": " AND videos.sha256 = :sha256",
}


@cache
def list_statement(given: frozenset[str]) -> TextClause:
    """Returns the statement for these filters. Each has its own: a plan for all of them could use no index."""
    conditions = "".join(condition for name, condition in _CONDITIONS.items() if name in given)
    if not given & {"status", "warned"}:
        return text(_PAGE_BY_VIDEO.format(conditions=conditions))
    join = _JOIN if given & {"words", "sha256"} else ""
    if "before" in given:
        # With a join it is said of both tables, so that the index of either can begin there.
        conditions = (conditions if join else "") + " AND extractions.video_id < :before"
    state = _WITH_WARNINGS if "warned" in given else _WITH_STATUS
    return text(_PAGE_BY_STATUS.format(join=join, state=state, conditions=conditions))


VIDEO_KEY = text(f"""
    SELECT {KEY_COLUMNS} FROM extractions WHERE video_id = :id AND user_id = :user_id ORDER BY id DESC LIMIT 1
""")
EXTRACTION_KEY = text(f"SELECT {KEY_COLUMNS} FROM extractions WHERE id = :id AND user_id = :user_id")

_STORED_FIELDS = ExtractionRow.__slots__[:-1]
"""All but the place in the queue."""
_EXTRACTION = """
    extractions.id, extractions.video_id, extractions.spec, extractions.status, extractions.reused,
    extractions.attempt, extractions.version, extractions.frames_done, extractions.frames_total,
    extractions.error_code, extractions.error_detail, extractions.result_key, extractions.result_frames,
    extractions.result_bytes, extractions.result_sha256, extractions.result_warnings, extractions.result_expires_at,
    coalesce(extractions.result_expires_at <= clock_timestamp(), false) AS result_has_expired, extractions.created_at,
    extractions.started_at, extractions.finished_at,
    extract(epoch FROM clock_timestamp() - extractions.started_at) AS elapsed_seconds,
    preview.preview_key, preview.preview_frames, preview.segment_number AS preview_segment
"""
_PREVIEW = """
    LEFT JOIN LATERAL (
        SELECT preview_key, preview_frames, segment_number FROM tasks
        WHERE extraction_id = extractions.id AND extractions.status = 'running' AND preview_key IS NOT NULL
        ORDER BY segment_number DESC LIMIT 1
    ) AS preview ON true
"""
READ_ROWS = text(f"""
    SELECT {_EXTRACTION}, videos.filename, videos.size, videos.sha256, videos.media,
        videos.created_at AS video_created_at
    FROM extractions JOIN videos ON videos.id = extractions.video_id {_PREVIEW}
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
    warned: bool = False,
    words: str | None = None,
    sha256: str | None = None,
) -> list[RepresentationKey]:
    """Returns the caller's videos with their newest extraction, newest first. before: the last id of the previous
    page. warned: only those that succeeded with warnings.
    """
    if warned and status not in {None, ExtractionStatus.SUCCEEDED}:
        return []
    pattern = None if words is None else _LIKE_SPECIAL.sub(r"\\\g<0>", words)
    filters = {"before": before, "words": pattern, "sha256": sha256, "status": None if status is None else str(status)}
    given = {name: value for name, value in filters.items() if value is not None}
    statement = list_statement(frozenset(given) | ({"warned"} if warned else set()))
    async with database.connect() as connection:
        if words is not None:
            await connection.execute(PLAN_SEARCH)
        rows = (await connection.execute(statement, {"user_id": user_id, "limit": limit, **given})).all()
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


async def delete(
    database: AsyncEngine, user_id: UUID, video_id: UUID, may_delete: Callable[[RepresentationKey], bool] | None = None
) -> bool:
    """Cancels the running extractions of a video, then deletes it with all results.

    False when the caller has no such video. may_delete: decides by the newest extraction while nothing can change it.
    Raises CatalogueError `precondition_failed`.
    """
    mine = {"video_id": video_id, "user_id": user_id}
    while (deleted := await _delete_locked(database, mine, may_delete)) is None:
        pass
    return deleted


async def _delete_locked(
    database: AsyncEngine, mine: Mapping[str, UUID], may_delete: Callable[[RepresentationKey], bool] | None
) -> bool | None:
    """Returns None when an extraction was added while this call waited for the video's lock: its task is not locked,
    and to lock it now would break the order of the locks."""
    async with database.begin() as connection:
        await task_queue.lock_all(connection, LOCK_TASKS, mine)
        owned = (await connection.execute(OWNED, mine)).scalars().all()
        if (await connection.execute(LOCK_VIDEO, mine)).first() is None:
            return False
        if (await connection.execute(EXTRACTIONS, mine)).scalars().all() != owned:
            return None
        if may_delete is not None:
            newest = (await connection.execute(VIDEO_KEY, {"user_id": mine["user_id"], "id": mine["video_id"]})).one()
            if not may_delete(key_of(newest)):
                raise CatalogueError("precondition_failed")
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
    # The first columns are the fields, in their order: to read them by name would take most of the time of a page.
    stored = dict(zip(_STORED_FIELDS, row, strict=False))
    status = ExtractionStatus(row.status)
    elapsed = None if row.elapsed_seconds is None or is_terminal(status) else float(row.elapsed_seconds)
    return ExtractionRow(**stored | {"status": status, "elapsed_seconds": elapsed, "queue_position": position})

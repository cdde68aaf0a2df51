"""Accepting a video: its bytes are stored first, then one statement commits its rows.

A reservation is committed before an object's first byte. The accepting statement deletes the reservation and inserts
the rows, so every object is reserved, accepted or garbage at any moment, whichever process dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.notification.outbox_insert_sql import INSERT_WEBHOOK_NOTIFICATIONS
from db.queue.fair_queueing import TAGGED
from db.values.error_catalogue import CatalogueError


@dataclass(frozen=True, slots=True)
class Upload:
    """One stored file that is about to be accepted for an account.

    sha256: lower-case hex; None until a worker has read the chunks of an upload by tus. object_key: of the file, or the
    prefix of its chunks, which ends with a slash.
    """

    user_id: UUID
    video_id: UUID
    extraction_id: UUID
    task_id: UUID
    filename: str
    size: int
    sha256: str | None
    object_key: str
    spec: str


@dataclass(frozen=True, slots=True)
class Reextraction:
    """Another extraction of a stored video that is about to be accepted."""

    user_id: UUID
    video_id: UUID
    extraction_id: UUID
    task_id: UUID
    spec: str


# For many uploads in one statement: it is planned once, and each index is visited in one pass.
ACCEPT = text(f"""
    WITH requested AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:user_ids AS uuid[]), CAST(:video_ids AS uuid[]), CAST(:extraction_ids AS uuid[]),
            CAST(:task_ids AS uuid[]), CAST(:filenames AS text[]), CAST(:sizes AS bigint[]), CAST(:sha256s AS text[]),
            CAST(:object_keys AS text[]), CAST(:specs AS text[])
        ) WITH ORDINALITY AS requested (
            user_id, video_id, extraction_id, task_id, filename, size, sha256, object_key, spec, number)
    ), reserved AS (
        DELETE FROM reservations USING requested
        WHERE reservations.object_key = requested.object_key AND reservations.user_id = requested.user_id
          AND reservations.abandoned_at IS NULL
        RETURNING requested.*
    ), received AS (
        SELECT requested.* FROM requested
        JOIN uploads ON uploads.id = requested.video_id AND uploads.user_id = requested.user_id
        WHERE right(requested.object_key, 1) = '/' AND uploads.completed_at IS NOT NULL
    ), stored AS MATERIALIZED (
        SELECT * FROM reserved UNION ALL SELECT * FROM received
    ), asker AS (
        SELECT task_id, extraction_id, user_id, number, size FROM stored
    ), {TAGGED}, video AS (
        INSERT INTO videos (id, user_id, filename, size, sha256, object_key)
        SELECT video_id, user_id, filename, size, sha256, object_key FROM stored ORDER BY number
    ), extraction AS (
        INSERT INTO extractions (id, video_id, user_id, spec)
        SELECT extraction_id, video_id, user_id, spec FROM stored ORDER BY number
    ), task AS (
        INSERT INTO tasks (id, extraction_id, user_id, cost, priority, virtual_finish, state)
        SELECT task_id, extraction_id, user_id, size, priority, finish, state FROM tagged ORDER BY number
    ), acceptance AS (
        INSERT INTO acceptances (extraction_id, video_id, user_id)
        SELECT extraction_id, video_id, user_id FROM stored ORDER BY number
    ), event AS (
        INSERT INTO events (extraction_id, kind) SELECT extraction_id, 'accepted' FROM stored ORDER BY number
    )
    SELECT extraction_id FROM stored
""")

EXTRACT_AGAIN = text(f"""
    WITH video AS (
        SELECT id, user_id, size FROM videos WHERE id = :video_id AND user_id = :user_id FOR KEY SHARE
    ), asker AS (
        SELECT CAST(:task_id AS uuid) AS task_id, CAST(:extraction_id AS uuid) AS extraction_id, user_id, 1 AS number,
            size
        FROM video
    ), {TAGGED}, extraction AS (
        INSERT INTO extractions (id, video_id, user_id, spec)
        SELECT :extraction_id, id, user_id, :spec FROM video
    ), task AS (
        INSERT INTO tasks (id, extraction_id, user_id, cost, priority, virtual_finish, state)
        SELECT task_id, extraction_id, user_id, size, priority, finish, state FROM tagged
    ), acceptance AS (
        INSERT INTO acceptances (extraction_id, video_id, user_id) SELECT :extraction_id, id, user_id FROM video
    ), event AS (
        INSERT INTO events (extraction_id, kind) SELECT :extraction_id, 'accepted' FROM video
    )
    SELECT id FROM video
""")

REUSE = text(f"""
    WITH existing AS (
        SELECT * FROM extractions
        WHERE video_id = :video_id AND user_id = :user_id AND status = 'succeeded' AND spec = :spec
          AND result_engine = :engine
        ORDER BY id LIMIT 1 FOR KEY SHARE
    ), ended AS (
        INSERT INTO extractions (id, video_id, user_id, spec, status, reused, finished_at, frames_done, frames_total,
            result_engine, result_key, result_frames, result_bytes, result_sha256, result_warnings)
        SELECT :extraction_id, video_id, user_id, spec, 'succeeded', true, clock_timestamp(), frames_done,
            frames_total, result_engine, result_key, result_frames, result_bytes, result_sha256, result_warnings
        FROM existing RETURNING id, user_id, status
    ), acceptance AS (
        INSERT INTO acceptances (extraction_id, video_id, user_id)
        SELECT :extraction_id, video_id, user_id FROM existing
    ), event AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT :extraction_id, 'reused', jsonb_build_object('from', id) FROM existing
    ), {INSERT_WEBHOOK_NOTIFICATIONS}
    SELECT id FROM existing
""")


async def accept(connection: AsyncConnection, uploads: Sequence[Upload]) -> None:
    """Turns reserved objects and received uploads into queued extractions, all or none. The caller commits.

    Raises CatalogueError `unavailable` when a reservation was abandoned meanwhile, or an upload is not whole or was
    accepted already.
    """
    values = {f"{name}s": [getattr(upload, name) for upload in uploads] for name in Upload.__slots__}
    if len((await connection.execute(ACCEPT, values)).all()) < len(uploads):
        raise CatalogueError("unavailable", "The upload took too long and was abandoned.", retry_after=1)


async def reuse(connection: AsyncConnection, again: Reextraction, engine_name: str) -> bool:
    """Adds the extraction as one that has succeeded, by an existing result of the same engine; the caller commits.

    engine_name: reader and engine version that would extract now. Returns False when there is no such result; nothing
    is written then.
    """
    return (await connection.execute(REUSE, asdict(again) | {"engine": engine_name})).first() is not None


async def extract_again(connection: AsyncConnection, again: Reextraction) -> None:
    """Queues the extraction. The caller commits. Raises CatalogueError `not_found`."""
    if (await connection.execute(EXTRACT_AGAIN, asdict(again))).first() is None:
        raise CatalogueError("not_found")

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
from db.queue.fair_queueing import TAGGED, WORK_OF_MEDIA
from db.queue.result_reuse_sql import EXPIRY, FIND_STORED_RESULT, RESULT_COLUMNS
from db.values.error_catalogue import CatalogueError


@dataclass(frozen=True, slots=True)
class Upload:
    """One stored file that is about to be accepted for an account.

    sha256: lower-case hex; None until a worker has read the chunks of an upload by tus. object_key: of the file, or the
    prefix of its chunks, which ends with a slash. request_id, traceparent: of db.tracing_api.Origin.
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
    request_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Reextraction:
    """Another extraction of a stored video that is about to be accepted. request_id, traceparent: as in Upload."""

    user_id: UUID
    video_id: UUID
    extraction_id: UUID
    task_id: UUID
    spec: str
    request_id: str | None = None
    traceparent: str | None = None


# Many uploads in one statement: PostgreSQL plans it once and visits each index in one pass.
ACCEPT = text(f"""
    WITH requested AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:user_ids AS uuid[]), CAST(:video_ids AS uuid[]), CAST(:extraction_ids AS uuid[]),
            CAST(:task_ids AS uuid[]), CAST(:filenames AS text[]), CAST(:sizes AS bigint[]), CAST(:sha256s AS text[]),
            CAST(:object_keys AS text[]), CAST(:specs AS text[]), CAST(:request_ids AS text[]),
            CAST(:traceparents AS text[])
        ) WITH ORDINALITY AS requested (
            user_id, video_id, extraction_id, task_id, filename, size, sha256, object_key, spec, request_id,
            traceparent, number)
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
        SELECT task_id, extraction_id, user_id, number, size, size AS work FROM stored
    ), {TAGGED}, video AS (
        INSERT INTO videos (id, user_id, filename, size, sha256, object_key)
        SELECT video_id, user_id, filename, size, sha256, object_key FROM stored ORDER BY number
    ), extraction AS (
        INSERT INTO extractions (id, video_id, user_id, spec, request_id, traceparent)
        SELECT extraction_id, video_id, user_id, spec, request_id, traceparent FROM stored ORDER BY number
    ), task AS (
        INSERT INTO tasks (id, extraction_id, user_id, cost, priority, virtual_finish, state, prefers)
        SELECT task_id, extraction_id, user_id, size, priority, finish, state, prefers FROM tagged ORDER BY number
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
        SELECT id, user_id, size, media FROM videos
        WHERE id = :video_id AND user_id = :user_id AND removed_at IS NULL FOR SHARE
    ), asker AS (
        SELECT CAST(:task_id AS uuid) AS task_id, CAST(:extraction_id AS uuid) AS extraction_id, user_id, 1 AS number,
            size, {WORK_OF_MEDIA} AS work
        FROM video
    ), {TAGGED}, extraction AS (
        INSERT INTO extractions (id, video_id, user_id, spec, request_id, traceparent)
        SELECT :extraction_id, id, user_id, :spec, :request_id, :traceparent FROM video
    ), task AS (
        INSERT INTO tasks (id, extraction_id, user_id, cost, priority, virtual_finish, state, prefers)
        SELECT task_id, extraction_id, user_id, size, priority, finish, state, prefers FROM tagged
    ), acceptance AS (
        INSERT INTO acceptances (extraction_id, video_id, user_id) SELECT :extraction_id, id, user_id FROM video
    ), event AS (
        INSERT INTO events (extraction_id, kind) SELECT :extraction_id, 'accepted' FROM video
    )
    SELECT id FROM video
""")

IS_REMOVED = text("SELECT 1 FROM videos WHERE id = :video_id AND user_id = :user_id AND removed_at IS NOT NULL")

REUSE = text(f"""
    WITH requested AS MATERIALIZED (
        SELECT id AS video_id, user_id, sha256, CAST(:spec AS text) AS spec FROM videos
        WHERE id = :video_id AND user_id = :user_id FOR KEY SHARE
    ), {FIND_STORED_RESULT}, ended AS (
        INSERT INTO extractions (id, video_id, user_id, spec, request_id, traceparent, status, reused, finished_at,
            frames_done, frames_total, result_expires_at, {RESULT_COLUMNS})
        SELECT :extraction_id, requested.video_id, requested.user_id, requested.spec, :request_id, :traceparent,
            'succeeded', true, clock_timestamp(), frames_done, frames_total, {EXPIRY}, {RESULT_COLUMNS}
        FROM requested, existing, extended RETURNING id, user_id, status, video_id
    ), acceptance AS (
        INSERT INTO acceptances (extraction_id, video_id, user_id) SELECT id, video_id, user_id FROM ended
    ), event AS (
        INSERT INTO events (extraction_id, kind, data)
        SELECT ended.id, 'reused', jsonb_build_object('from', existing.id) FROM ended, existing
    ), {INSERT_WEBHOOK_NOTIFICATIONS}
    SELECT id FROM ended
""")


async def accept(connection: AsyncConnection, uploads: Sequence[Upload]) -> None:
    """Turns reserved objects and received uploads into queued extractions, all or none. The caller commits.

    Raises CatalogueError `unavailable` when a reservation was abandoned meanwhile, or an upload is not whole or was
    accepted already.
    """
    values = {f"{name}s": [getattr(upload, name) for upload in uploads] for name in Upload.__slots__}
    if len((await connection.execute(ACCEPT, values)).all()) < len(uploads):
        raise CatalogueError("unavailable", "The upload took too long and was abandoned.", retry_after=1)


async def reuse(
    connection: AsyncConnection, again: Reextraction, engine_name: str, *, retention_seconds: float | None = None
) -> bool:
    """Adds the extraction as one that has succeeded, by a stored result of the account; the caller commits.

    engine_name: reader and engine version that would extract now. retention_seconds: how long the result is kept; None
    for ever. Returns False, and writes nothing, when there is no result of the same bytes, specification and engine.
    """
    values = asdict(again) | {"engine": engine_name, "retention_seconds": retention_seconds}
    return (await connection.execute(REUSE, values)).first() is not None


async def extract_again(connection: AsyncConnection, again: Reextraction) -> None:
    """Queues the extraction. The caller commits. Raises CatalogueError `not_found` or `video_expired`."""
    if (await connection.execute(EXTRACT_AGAIN, asdict(again))).first() is not None:
        return
    removed = await connection.execute(IS_REMOVED, {"video_id": again.video_id, "user_id": again.user_id})
    raise CatalogueError("not_found" if removed.first() is None else "video_expired")

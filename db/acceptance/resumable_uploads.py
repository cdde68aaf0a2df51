"""Uploads by tus: their bytes arrive in chunks, over any number of requests and API replicas.

A chunk is an immutable object. It is stored first; then one statement adds its row and moves the offset. The condition
on the offset is the fence: of two clients that send the same bytes, one gets them in. The statement that adds the last
chunk completes the upload; the caller accepts the video in the same transaction (`db.acceptance.accept`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.object_store.object_keys import chunks_prefix
from db.values.error_catalogue import CatalogueError
from db.values.file_type import HEAD_BYTES

DISCARDED_RETENTION_SECONDS = 7 * 24 * 3600.0
"""How long the row of a discarded upload is kept. Until then a request for it gets `upload_gone`."""
ACTIVE_SECONDS = 3600.0
"""How long after its last byte an upload is active: room is kept for the bytes that it still brings. An idle one keeps
nobody out for the days until it expires; when it goes on, it may meet a full store, and what has arrived stays."""

MAX_SMALL_CHUNKS = 10_000
SMALL_CHUNK_BYTES = 1 << 18
"""An upload may have MAX_SMALL_CHUNKS chunks, and one more for each SMALL_CHUNK_BYTES of it. So a client with larger
chunks meets no bound, and single bytes do not become a million objects."""


@dataclass(frozen=True, slots=True)
class NewUpload:
    """id: of the upload, and of its video. spec: canonical. metadata: as the client sent it. size: None when deferred.

    sha256: of all bytes, as the client declares it; lower-case hex.
    """

    id: UUID
    user_id: UUID
    filename: str
    spec: str
    metadata: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class UploadState:
    """The committed state of an upload. received: its offset. chunk_count: objects that hold these bytes."""

    id: UUID
    user_id: UUID
    filename: str
    spec: str
    metadata: str
    size: int | None
    received: int
    chunk_count: int
    expires_at: datetime
    is_complete: bool
    is_gone: bool
    """Discarded or expired."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """`size` bytes of an upload, from the byte `start` on, in one object. sha256: lower-case hex of these bytes."""

    start: int
    size: int
    sha256: str
    object_key: str


@dataclass(frozen=True, slots=True)
class ChunkedContent:
    """The chunks of a video, in their order. sha256: of all bytes, as the client declared it."""

    chunks: tuple[Chunk, ...]
    sha256: str | None


_OPEN = "completed_at IS NULL AND discarded_at IS NULL AND expires_at > clock_timestamp()"
_EXPIRY = "clock_timestamp() + make_interval(secs => :expiry_seconds)"
_STATE = """
    id, user_id, filename, spec, metadata, size, received, chunk_count, expires_at,
    completed_at IS NOT NULL AS is_complete,
    discarded_at IS NOT NULL OR completed_at IS NULL AND expires_at <= clock_timestamp() AS is_gone
"""

CREATE = text(f"""
    INSERT INTO uploads (id, user_id, filename, spec, metadata, size, sha256, expires_at)
    SELECT :id, users.id, :filename, :spec, :metadata, CAST(:size AS bigint), CAST(:sha256 AS text), {_EXPIRY}
    FROM users WHERE users.id = :user_id AND erased_at IS NULL FOR KEY SHARE
    RETURNING {_STATE}
""")
FIND = text(f"SELECT {_STATE} FROM uploads WHERE id = :id AND user_id = :user_id")
_COMPLETED_AT = "CASE WHEN {received} = {size} THEN clock_timestamp() END"
SET_SIZE = text(f"""
    UPDATE uploads SET size = :size, expires_at = {_EXPIRY},
        completed_at = {_COMPLETED_AT.format(received="received", size=":size")}
    WHERE id = :id AND user_id = :user_id AND size IS NULL AND received <= :size AND {_OPEN} RETURNING {_STATE}
""")
ADD_CHUNKS = text(f"""
    WITH updated AS (
        UPDATE uploads SET received = received + :bytes, chunk_count = chunk_count + :count, expires_at = {_EXPIRY},
            completed_at = {_COMPLETED_AT.format(received="received + :bytes", size="size")}
        WHERE id = :id AND user_id = :user_id AND received = :start AND (size IS NULL OR received + :bytes <= size)
          AND {_OPEN}
        RETURNING *
    ), added AS (
        INSERT INTO upload_chunks (upload_id, start, size, sha256, object_key)
        SELECT updated.id, chunk.start, chunk.size, chunk.sha256, chunk.object_key
        FROM updated CROSS JOIN unnest(
            CAST(:starts AS bigint[]), CAST(:sizes AS bigint[]), CAST(:sha256s AS text[]), CAST(:object_keys AS text[])
        ) AS chunk (start, size, sha256, object_key)
    )
    SELECT {_STATE} FROM updated
""")
# Maintenance deletes the objects later: a request that began before may still store one.
DISCARD = """
    discarded AS (
        UPDATE uploads SET discarded_at = clock_timestamp() FROM to_discard
        WHERE uploads.id = to_discard.id AND completed_at IS NULL AND discarded_at IS NULL RETURNING uploads.id
    ), chunks AS (
        DELETE FROM upload_chunks USING discarded WHERE upload_id = discarded.id
    ), objects AS (
        INSERT INTO garbage (object_key) SELECT 'videos/' || id || '/' FROM discarded ON CONFLICT DO NOTHING
    )
    SELECT id FROM discarded
"""
DISCARD_ONE = text(f"""
    WITH to_discard AS (SELECT id FROM uploads WHERE id = :id AND user_id = :user_id FOR UPDATE), {DISCARD}
""")
LOCK_UPLOAD = text("SELECT FROM uploads WHERE id = :id AND user_id = :user_id FOR UPDATE")
# A statement after the lock: it sees the chunks that another request has added until then.
DISCARD_UNCHECKED = text(f"""
    WITH to_discard AS (
        SELECT id FROM uploads WHERE id = :id AND user_id = :user_id AND NOT EXISTS (
            SELECT FROM upload_chunks WHERE upload_id = uploads.id AND start = 0 AND size >= {HEAD_BYTES}
        )
    ), {DISCARD}
""")
DISCARD_EXPIRED = text(f"""
    WITH to_discard AS (
        SELECT id FROM uploads WHERE completed_at IS NULL AND discarded_at IS NULL AND expires_at <= clock_timestamp()
        ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), {DISCARD}
""")
DISCARD_OF_USER = text(f"""
    WITH to_discard AS (
        SELECT id FROM uploads WHERE user_id = :user_id AND completed_at IS NULL AND discarded_at IS NULL
        ORDER BY id LIMIT :limit FOR UPDATE
    ), {DISCARD}
""")
IS_KEPT = text("SELECT FROM uploads WHERE id = :id AND discarded_at IS NULL")
DELETE_DISCARDED = text("""
    DELETE FROM uploads WHERE discarded_at < clock_timestamp() - make_interval(secs => :retention_seconds)
""")
CHUNKS = text("""
    SELECT start, size, sha256, object_key FROM upload_chunks WHERE upload_id = :id ORDER BY start
""")
# Active are those whose expiry was moved lately. The sum reads the index of the expiries.
ANNOUNCED_BYTES = text("""
    SELECT coalesce(sum(size - received), 0) FROM uploads
    WHERE completed_at IS NULL AND discarded_at IS NULL
      AND expires_at > clock_timestamp() + make_interval(secs => :idle_expiry_seconds)
""")
# Released at the end of the transaction. It is always the last lock that a transaction takes.
LOCK_ANNOUNCEMENTS = text("SELECT pg_advisory_xact_lock(hashtextextended('announced bytes', 0))")
DECLARED_SHA256 = text("SELECT sha256 FROM uploads WHERE id = :id")


async def create(connection: AsyncConnection, upload: NewUpload, *, expiry_seconds: float) -> UploadState:
    """Inserts an upload. The caller has checked the quotas in the same transaction, and commits.

    Raises CatalogueError `unauthenticated` for an erased account.
    """
    values = {name: getattr(upload, name) for name in NewUpload.__slots__}
    row = (await connection.execute(CREATE, values | {"expiry_seconds": expiry_seconds})).first()
    if row is None:
        raise CatalogueError("unauthenticated", "The account was erased.")
    return _state_of(row)


async def find(database: AsyncEngine, user_id: UUID, upload_id: UUID) -> UploadState:
    """Returns one of the caller's uploads. Raises CatalogueError `not_found` or `upload_gone`."""
    async with database.connect() as connection:
        row = (await connection.execute(FIND, {"id": upload_id, "user_id": user_id})).first()
    if row is None:
        raise CatalogueError("not_found")
    if row.is_gone:
        raise CatalogueError("upload_gone")
    return _state_of(row)


async def announced_bytes(connection: AsyncConnection, *, expiry_seconds: float) -> int:
    """Returns how many bytes the active uploads of all accounts still bring. expiry_seconds: of `create`."""
    values = {"idle_expiry_seconds": _idle_expiry_seconds(expiry_seconds)}
    return int((await connection.execute(ANNOUNCED_BYTES, values)).scalar_one())


async def lock_announcements(connection: AsyncConnection) -> None:
    """Lets no other transaction announce bytes until the caller's ends."""
    await connection.execute(LOCK_ANNOUNCEMENTS)


def is_active(upload: UploadState, now: datetime, *, expiry_seconds: float) -> bool:
    """Whether the bytes that the upload still brings are among the announced ones."""
    return upload.expires_at > now + timedelta(seconds=_idle_expiry_seconds(expiry_seconds))


def check_chunk_count(upload: UploadState, chunks: Sequence[Chunk]) -> None:
    """Raises CatalogueError `too_many_chunks`. The last chunk is always taken."""
    end = chunks[-1].start + chunks[-1].size
    if end != upload.size and upload.chunk_count + len(chunks) > MAX_SMALL_CHUNKS + end // SMALL_CHUNK_BYTES:
        detail = f"{upload.received} bytes came in {upload.chunk_count} pieces; send {SMALL_CHUNK_BYTES} bytes or more."
        raise CatalogueError("too_many_chunks", detail)


def _idle_expiry_seconds(expiry_seconds: float) -> float:
    """An upload that expires within this time is idle."""
    return max(0.0, expiry_seconds - ACTIVE_SECONDS)


async def set_size(
    connection: AsyncConnection, upload: UploadState, size: int, *, expiry_seconds: float
) -> UploadState:
    """Sets the size of an upload whose size was deferred. The caller accepts the video when this completes the upload.

    Raises CatalogueError `upload_conflict` when the upload has a size, has more bytes than `size`, or is not open.
    """
    values = {"id": upload.id, "user_id": upload.user_id, "size": size, "expiry_seconds": expiry_seconds}
    return _state_or_conflict((await connection.execute(SET_SIZE, values)).first())


async def add_chunks(
    connection: AsyncConnection, upload: UploadState, chunks: Sequence[Chunk], *, expiry_seconds: float
) -> UploadState:
    """Adds stored chunks, at least one, each after the other. The caller accepts the video when the upload is complete.

    Raises CatalogueError `upload_conflict` when the first chunk does not begin at the committed offset, when the chunks
    exceed the size, or when the upload is not open; `too_many_chunks` when too many of them are small.
    """
    check_chunk_count(upload, chunks)
    values = {
        "id": upload.id,
        "user_id": upload.user_id,
        "start": chunks[0].start,
        "bytes": sum(chunk.size for chunk in chunks),
        "count": len(chunks),
        "starts": [chunk.start for chunk in chunks],
        "sizes": [chunk.size for chunk in chunks],
        "sha256s": [chunk.sha256 for chunk in chunks],
        "object_keys": [chunk.object_key for chunk in chunks],
        "expiry_seconds": expiry_seconds,
    }
    return _state_or_conflict((await connection.execute(ADD_CHUNKS, values)).first())


async def discard(database: AsyncEngine, user_id: UUID, upload_id: UUID) -> bool:
    """Discards an upload whose first bytes are no video; maintenance deletes its objects.

    False when it is complete or discarded already, and when its first chunk was checked: then the refused bytes are
    those of another request, which has lost the race for the offset 0.
    """
    values = {"id": upload_id, "user_id": user_id}
    async with database.begin() as connection:
        await connection.execute(LOCK_UPLOAD, values)
        return (await connection.execute(DISCARD_UNCHECKED, values)).first() is not None


async def terminate(database: AsyncEngine, user_id: UUID, upload_id: UUID) -> bool:
    """Discards an upload at its owner's wish. False when it is complete or discarded already."""
    async with database.begin() as connection:
        values = {"id": upload_id, "user_id": user_id}
        return (await connection.execute(DISCARD_ONE, values)).first() is not None


async def is_kept(database: AsyncEngine, upload_id: UUID) -> bool:
    """Whether the upload is not discarded."""
    async with database.connect() as connection:
        return (await connection.execute(IS_KEPT, {"id": upload_id})).first() is not None


async def discard_expired(database: AsyncEngine, *, limit: int = 100) -> int:
    """Discards expired uploads; returns how many. Several processes may run it at the same time."""
    async with database.begin() as connection:
        return len((await connection.execute(DISCARD_EXPIRED, {"limit": limit})).all())


async def discard_of_user(database: AsyncEngine, user_id: UUID, *, limit: int = 100) -> int:
    """Discards open uploads of an account; returns how many."""
    async with database.begin() as connection:
        return len((await connection.execute(DISCARD_OF_USER, {"user_id": user_id, "limit": limit})).all())


async def delete_discarded(database: AsyncEngine) -> int:
    """Deletes the rows of uploads that were discarded long ago; returns how many."""
    async with database.begin() as connection:
        return (await connection.execute(DELETE_DISCARDED, {"retention_seconds": DISCARDED_RETENTION_SECONDS})).rowcount


async def chunks_of(database: AsyncEngine, upload_id: UUID) -> tuple[Chunk, ...]:
    """Returns the committed chunks of an upload or of its video, in their order."""
    async with database.connect() as connection:
        return _chunks((await connection.execute(CHUNKS, {"id": upload_id})).all())


async def content_of(database: AsyncEngine, video_id: UUID) -> ChunkedContent:
    """Returns the chunks of a video and their declared digest, for the worker that joins them."""
    async with database.connect() as connection:
        chunks = _chunks((await connection.execute(CHUNKS, {"id": video_id})).all())
        return ChunkedContent(chunks, (await connection.execute(DECLARED_SHA256, {"id": video_id})).scalar())


def is_chunked(object_key: str) -> bool:
    """Whether `object_key`, of a video, is the prefix of its chunks."""
    return object_key.endswith("/")


def object_key_of(upload_id: UUID) -> str:
    """The `object_key` of the video that an upload becomes."""
    return chunks_prefix(upload_id)


def _chunks(rows: Sequence[Row[Any]]) -> tuple[Chunk, ...]:
    return tuple(Chunk(row.start, row.size, row.sha256, row.object_key) for row in rows)


def _state_or_conflict(row: Row[Any] | None) -> UploadState:
    if row is None:
        raise CatalogueError("upload_conflict")
    return _state_of(row)


def _state_of(row: Row[Any]) -> UploadState:
    return UploadState(**{name: getattr(row, name) for name in UploadState.__slots__})

"""Notifications that are owed: taken for a while, sent, and then marked; at least once, with a stable id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.lifecycle import ExtractionStatus

HOLD_SECONDS = 120.0
"""How long a sender has a notification to itself."""
GIVE_UP_SECONDS = 24 * 3600.0
BACKOFF_FIRST_SECONDS = 10.0
BACKOFF_MOST_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification to one account. id: the same at every try."""

    id: UUID
    channel: str
    tries: int
    extraction_id: UUID
    video_id: UUID
    filename: str
    status: ExtractionStatus
    error_code: str | None
    error_detail: str | None
    frames: int | None
    email: str
    name: str
    locale: str


# Taken by pushing the due time ahead: a sender that dies in between is simply late.
TAKE = text("""
    WITH due AS MATERIALIZED (
        SELECT id FROM outbox
        WHERE delivered_at IS NULL AND given_up_at IS NULL AND due_at <= clock_timestamp()
        ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE outbox SET tries = tries + 1, due_at = clock_timestamp() + make_interval(secs => :hold_seconds)
        FROM due WHERE outbox.id = due.id
        RETURNING outbox.id, outbox.channel, outbox.tries, outbox.extraction_id
    )
    SELECT taken.id, taken.channel, taken.tries, taken.extraction_id, videos.id AS video_id, videos.filename,
        extractions.status, extractions.error_code, extractions.error_detail, extractions.result_frames AS frames,
        users.email, users.name, users.locale
    FROM taken JOIN extractions ON extractions.id = taken.extraction_id
    JOIN videos ON videos.id = extractions.video_id JOIN users ON users.id = extractions.user_id
""")
DELIVERED = text("""
    WITH sent AS (
        UPDATE outbox SET delivered_at = clock_timestamp(), last_error = NULL
        WHERE id = :id AND delivered_at IS NULL RETURNING extraction_id, channel
    )
    INSERT INTO events (extraction_id, kind, data)
    SELECT extraction_id, 'notified', jsonb_build_object('channel', channel) FROM sent
""")
POSTPONE = text("""
    UPDATE outbox
    SET last_error = :error, due_at = clock_timestamp() + make_interval(secs => :delay_seconds),
        given_up_at = CASE WHEN created_at < clock_timestamp() - make_interval(secs => :give_up_seconds)
            THEN clock_timestamp() END
    WHERE id = :id AND delivered_at IS NULL
""")


async def take(engine: AsyncEngine, limit: int = 20) -> list[Notification]:
    """Takes what is due; a notification that is not marked within HOLD_SECONDS is due again."""
    async with engine.begin() as connection:
        rows = (await connection.execute(TAKE, {"limit": limit, "hold_seconds": HOLD_SECONDS})).all()
    return [_notification(row) for row in rows]


async def delivered(engine: AsyncEngine, notification_id: UUID) -> None:
    async with engine.begin() as connection:
        await connection.execute(DELIVERED, {"id": notification_id})


async def postpone(engine: AsyncEngine, notification: Notification, error: str, jitter: float) -> None:
    """After a failed try: later again, with growing pauses, for a day. jitter: uniform in [0, 1)."""
    values = {
        "id": notification.id,
        "error": error[:500],
        "delay_seconds": backoff_seconds(notification.tries, jitter),
        "give_up_seconds": GIVE_UP_SECONDS,
    }
    async with engine.begin() as connection:
        await connection.execute(POSTPONE, values)


def backoff_seconds(tries: int, jitter: float) -> float:
    """The pause after the `tries`-th failed try."""
    ceiling = min(BACKOFF_MOST_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(tries - 1, 30))
    return ceiling * (0.5 + jitter / 2)


def _notification(row: Row[Any]) -> Notification:
    fields = {name: getattr(row, name) for name in Notification.__slots__}
    return Notification(**fields | {"status": ExtractionStatus(row.status)})

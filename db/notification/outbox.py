"""The outbox: pending notifications. A sender takes one for a while, sends it, and marks it: at least once, under
one id.

A channel is `email`, `webhook:<id>`, or `webhook_off:<id>` (the e-mail about a webhook that was disabled).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.values.lifecycle import ExtractionStatus, backoff_seconds

EMAIL = "email"
WEBHOOK = "webhook:"
WEBHOOK_OFF = "webhook_off:"

LEASE_SECONDS = 120.0
"""How long a notification that a sender has taken is hidden from others."""
GIVE_UP_SECONDS = 24 * 3600.0
BACKOFF_FIRST_SECONDS = 10.0
BACKOFF_MAX_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification to one account. id: the same at every try. owed_since: the fence for writes about it.
    request_id, traceparent: of the request that was accepted.
    """

    id: UUID
    channel: str
    tries: int
    owed_since: datetime
    extraction_id: UUID
    video_id: UUID
    filename: str
    status: ExtractionStatus
    error_code: str | None
    error_detail: str | None
    frames: int | None
    warnings: list[dict[str, str]] | None
    email: str
    name: str
    locale: str
    request_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """pending: notifications that are neither delivered nor given up. late_seconds: for how long the first of them has
    been due; 0 when none is.
    """

    pending: int
    late_seconds: float


_PENDING = "delivered_at IS NULL AND given_up_at IS NULL"
BACKLOG = text(f"""
    SELECT count(*) AS pending,
        greatest(coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0), 0) AS late_seconds
    FROM outbox WHERE {_PENDING}
""")
# Reads the index from channel to channel (a loose index scan), so a long queue of one channel delays no other.
DUE_CHANNELS = text(f"""
    WITH RECURSIVE pending (channel) AS (
        SELECT min(channel) FROM outbox WHERE {_PENDING}
        UNION ALL
        SELECT (SELECT min(channel) FROM outbox WHERE {_PENDING} AND outbox.channel > pending.channel)
        FROM pending WHERE pending.channel IS NOT NULL
    )
    SELECT pending.channel
    FROM pending CROSS JOIN LATERAL (
        SELECT due_at FROM outbox WHERE outbox.channel = pending.channel AND {_PENDING} ORDER BY due_at LIMIT 1
    ) AS next
    WHERE next.due_at <= clock_timestamp() AND pending.channel <> ALL(CAST(:without AS text[]))
    ORDER BY next.due_at LIMIT :limit
""")
# Taking a notification moves its due time ahead: when the sender dies, it is due again then.
TAKE = text(f"""
    WITH due AS MATERIALIZED (
        SELECT id FROM outbox
        WHERE channel = :channel AND {_PENDING} AND due_at <= clock_timestamp()
        ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE outbox SET tries = tries + 1, due_at = clock_timestamp() + make_interval(secs => :lease_seconds)
        FROM due WHERE outbox.id = due.id
        RETURNING outbox.id, outbox.channel, outbox.tries, outbox.owed_since, outbox.extraction_id
    )
    SELECT taken.id, taken.channel, taken.tries, taken.owed_since, taken.extraction_id,
        videos.id AS video_id, videos.filename,
        extractions.status, extractions.error_code, extractions.error_detail, extractions.result_frames AS frames,
        extractions.result_warnings AS warnings, extractions.request_id, extractions.traceparent,
        users.email, users.name, users.locale
    FROM taken JOIN extractions ON extractions.id = taken.extraction_id
    JOIN videos ON videos.id = extractions.video_id
    JOIN users ON users.id = extractions.user_id AND users.erased_at IS NULL
""")
# The same lock order as in a deletion: first the extraction, then the rows that refer to it.
LOCK_EXTRACTION = text("SELECT id FROM extractions WHERE id = :extraction_id FOR KEY SHARE")
# A redelivery that was requested meanwhile stays pending, whatever the outcome of this try.
_SAME_PENDING = f"id = :id AND owed_since = :owed_since AND {_PENDING}"
MARK_DELIVERED = text(f"""
    WITH sent AS (
        UPDATE outbox SET delivered_at = clock_timestamp(), last_error = NULL
        WHERE {_SAME_PENDING} RETURNING extraction_id, channel
    )
    INSERT INTO events (extraction_id, kind, data)
    SELECT extraction_id, 'notified', jsonb_build_object('channel', channel) FROM sent
""")
POSTPONE = text(f"""
    UPDATE outbox
    SET last_error = :error, due_at = clock_timestamp() + make_interval(secs => :delay_seconds),
        given_up_at = CASE WHEN owed_since < clock_timestamp() - make_interval(secs => :give_up_seconds)
            THEN clock_timestamp() END
    WHERE {_SAME_PENDING}
""")
GIVE_UP = text(f"UPDATE outbox SET last_error = :error, given_up_at = clock_timestamp() WHERE {_SAME_PENDING}")


async def backlog(database: AsyncEngine) -> Backlog:
    """Returns how much of the outbox is not sent yet."""
    async with database.connect() as connection:
        row = (await connection.execute(BACKLOG)).one()
    return Backlog(row.pending, float(row.late_seconds))


async def due_channels(database: AsyncEngine, *, without: Collection[str], limit: int) -> list[str]:
    """Returns channels with due notifications, the longest waiting first, except those in `without`."""
    async with database.connect() as connection:
        found = await connection.execute(DUE_CHANNELS, {"without": list(without), "limit": limit})
        return list(found.scalars())


async def take(database: AsyncEngine, channel: str, limit: int = 20) -> list[Notification]:
    """Takes the due notifications of a channel. One that is not marked within LEASE_SECONDS is due again."""
    values = {"channel": channel, "limit": limit, "lease_seconds": LEASE_SECONDS}
    async with database.begin() as connection:
        return [_notification(row) for row in (await connection.execute(TAKE, values)).all()]


async def mark_delivered(database: AsyncEngine, notification: Notification) -> None:
    """Ends a notification as delivered, and writes the event `notified`."""
    async with database.begin() as connection:
        await connection.execute(LOCK_EXTRACTION, {"extraction_id": notification.extraction_id})
        await connection.execute(MARK_DELIVERED, _fence(notification))


async def postpone(database: AsyncEngine, notification: Notification, error: str, jitter: float) -> None:
    """Schedules the next try after a failed one, with growing pauses, for a day. jitter: uniform in [0, 1)."""
    delay_seconds = backoff_seconds(
        notification.tries - 1, jitter, first_seconds=BACKOFF_FIRST_SECONDS, max_seconds=BACKOFF_MAX_SECONDS
    )
    more = {"error": error[:500], "delay_seconds": delay_seconds, "give_up_seconds": GIVE_UP_SECONDS}
    await _write(database, POSTPONE, notification, **more)


async def give_up(database: AsyncEngine, notification: Notification, error: str) -> None:
    """Ends a notification that no further try can deliver."""
    await _write(database, GIVE_UP, notification, error=error[:500])


def webhook_of(channel: str, prefix: str) -> UUID | None:
    """Returns the webhook of a channel with this prefix (WEBHOOK, WEBHOOK_OFF); None for other channels."""
    return UUID(channel.removeprefix(prefix)) if channel.startswith(prefix) else None


async def _write(database: AsyncEngine, statement: Any, notification: Notification, **more: Any) -> None:
    async with database.begin() as connection:
        await connection.execute(statement, _fence(notification) | more)


def _fence(notification: Notification) -> dict[str, Any]:
    return {"id": notification.id, "owed_since": notification.owed_since}


def _notification(row: Row[Any]) -> Notification:
    fields = {name: getattr(row, name) for name in Notification.__slots__}
    return Notification(**fields | {"status": ExtractionStatus(row.status)})

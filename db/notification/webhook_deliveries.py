"""The deliveries of a webhook: each notification with its attempts, and the request to send it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.notification.outbox import WEBHOOK
from db.values.lifecycle import ExtractionStatus

MAX_TRIES = 50
"""How many attempts of one delivery are shown, the latest ones."""


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """status: of the HTTP response, None without one. error: None when the attempt succeeded."""

    at: datetime
    status: int | None
    error: str | None
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification to one webhook. id: the `webhook-id` of each attempt. due_at: of the next one, while pending."""

    id: UUID
    extraction_id: UUID
    extraction_status: ExtractionStatus
    status: DeliveryStatus
    created_at: datetime
    due_at: datetime | None
    delivered_at: datetime | None
    tries: Sequence[DeliveryAttempt]


RECORD = text("""
    INSERT INTO deliveries (outbox_id, status, error, milliseconds)
    SELECT id, :status, :error, :milliseconds FROM outbox WHERE id = :outbox_id FOR KEY SHARE
""")
_DELIVERY = """
    outbox.id, outbox.extraction_id, extractions.status, outbox.created_at, outbox.delivered_at, outbox.given_up_at,
    outbox.due_at
"""
LIST = text(f"""
    SELECT {_DELIVERY} FROM outbox JOIN extractions ON extractions.id = outbox.extraction_id
    WHERE outbox.channel = :channel AND outbox.channel <> 'email'
        AND (CAST(:before AS uuid) IS NULL OR outbox.id < :before)
    ORDER BY outbox.id DESC LIMIT :limit
""")
TRIES = text("""
    SELECT tries.outbox_id, tries.at, tries.status, tries.error, tries.milliseconds
    FROM unnest(CAST(:ids AS uuid[])) AS requested (id) CROSS JOIN LATERAL (
        SELECT * FROM deliveries WHERE outbox_id = requested.id ORDER BY id DESC LIMIT :max_tries
    ) AS tries
    ORDER BY tries.id
""")
REDELIVER = text(f"""
    WITH pending AS (
        UPDATE outbox
        SET tries = 0, due_at = clock_timestamp(), owed_since = clock_timestamp(),
            delivered_at = NULL, given_up_at = NULL, last_error = NULL
        WHERE id = :id AND channel = :channel RETURNING *
    )
    SELECT {_DELIVERY} FROM pending AS outbox JOIN extractions ON extractions.id = outbox.extraction_id
""")


def channel_of(webhook_id: UUID) -> str:
    """Returns the channel of a webhook in the outbox."""
    return f"{WEBHOOK}{webhook_id}"


async def record(
    database: AsyncEngine, outbox_id: UUID, *, status: int | None, error: str | None, milliseconds: int
) -> None:
    """Records one attempt; does nothing when the notification was deleted meanwhile."""
    values = {"outbox_id": outbox_id, "status": status, "error": error, "milliseconds": milliseconds}
    async with database.begin() as connection:
        await connection.execute(RECORD, values)


async def list_deliveries(
    database: AsyncEngine, webhook_id: UUID, *, limit: int, before: UUID | None = None
) -> list[Delivery]:
    """Returns a webhook's deliveries, newest first. The caller must have checked access."""
    values = {"channel": channel_of(webhook_id), "limit": limit, "before": before}
    async with database.connect() as connection:
        rows = (await connection.execute(LIST, values)).all()
        return await _with_tries(connection, rows)


async def redeliver(database: AsyncEngine, webhook_id: UUID, delivery_id: UUID) -> Delivery | None:
    """Makes a delivery pending again, under the same id. None when the webhook has no such delivery."""
    async with database.begin() as connection:
        values = {"id": delivery_id, "channel": channel_of(webhook_id)}
        rows = (await connection.execute(REDELIVER, values)).all()
        return next(iter(await _with_tries(connection, rows)), None)


async def _with_tries(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Delivery]:
    rows_of_tries = await connection.execute(TRIES, {"ids": [row.id for row in rows], "max_tries": MAX_TRIES})
    tries: dict[UUID, list[DeliveryAttempt]] = {}
    for row in rows_of_tries.all():
        tries.setdefault(row.outbox_id, []).append(DeliveryAttempt(row.at, row.status, row.error, row.milliseconds))
    return [_delivery(row, tries.get(row.id, [])) for row in rows]


def _delivery(row: Row[Any], tries: Sequence[DeliveryAttempt]) -> Delivery:
    status = DeliveryStatus.PENDING
    if row.delivered_at or row.given_up_at:
        status = DeliveryStatus.DELIVERED if row.delivered_at else DeliveryStatus.GIVEN_UP
    return Delivery(
        id=row.id,
        extraction_id=row.extraction_id,
        extraction_status=ExtractionStatus(row.status),
        status=status,
        created_at=row.created_at,
        due_at=row.due_at if status is DeliveryStatus.PENDING else None,
        delivered_at=row.delivered_at,
        tries=tries,
    )

"""Webhooks: the URLs to which an account's notifications are sent."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.notification.outbox import LOCK_EXTRACTION
from db.values.error_catalogue import CatalogueError
from db.values.lifecycle import ExtractionStatus, is_terminal

EVENTS = tuple(f"extraction.{status}" for status in ExtractionStatus if is_terminal(status))
"""The events that a webhook can receive."""
MAX_WEBHOOKS = 10
"""For each account."""
SECRET_BYTES = 32
LIMIT_RETRY_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Webhook:
    """events: the EVENTS that it receives. disabled_at: when it answered 410 Gone and was disabled."""

    id: UUID
    url: str
    events: Sequence[str]
    created_at: datetime
    disabled_at: datetime | None
    secret: str = field(repr=False)


_WEBHOOK = "id, url, events, created_at, disabled_at, secret"

# Locks the account, so that concurrent calls can't exceed the limit together.
LOCK_USER = text("SELECT id FROM users WHERE id = :user_id FOR NO KEY UPDATE")
CREATE = text(f"""
    INSERT INTO webhooks (id, user_id, url, secret, events)
    SELECT :id, :user_id, :url, :secret, :events
    WHERE (SELECT count(*) FROM webhooks WHERE user_id = :user_id) < :max_webhooks
    RETURNING {_WEBHOOK}
""")
LIST = text(f"""
    SELECT {_WEBHOOK} FROM webhooks
    WHERE user_id = :user_id AND (CAST(:before AS uuid) IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit
""")
GET_OF_USER = text(f"SELECT {_WEBHOOK} FROM webhooks WHERE id = :id AND user_id = :user_id")
GET = text(f"SELECT {_WEBHOOK} FROM webhooks WHERE id = :id")
DELETE = text("""
    WITH deleted AS (DELETE FROM webhooks WHERE id = :id AND user_id = :user_id RETURNING id), notifications AS (
        DELETE FROM outbox USING deleted WHERE outbox.channel = 'webhook:' || deleted.id
    )
    SELECT id FROM deleted
""")
# One outbox row notifies the owner. It refers to the extraction whose delivery was answered with 410.
DISABLE = text("""
    WITH disabled AS (
        UPDATE webhooks SET disabled_at = clock_timestamp() WHERE id = :id AND disabled_at IS NULL RETURNING id
    ), notifications AS (
        UPDATE outbox SET given_up_at = clock_timestamp(), last_error = :error
        FROM disabled WHERE outbox.channel = 'webhook:' || disabled.id AND delivered_at IS NULL AND given_up_at IS NULL
    ), delivery AS (
        SELECT id FROM extractions WHERE id = :extraction_id
    ), email AS (
        INSERT INTO outbox (id, extraction_id, channel)
        SELECT uuid_v7(), delivery.id, 'webhook_off:' || disabled.id FROM disabled, delivery
        ON CONFLICT (extraction_id, channel) DO NOTHING
    )
    SELECT id FROM disabled
""")


def secret_of(random_bytes: bytes) -> str:
    """Returns the secret in the form of Standard Webhooks. random_bytes: SECRET_BYTES of them."""
    return "whsec_" + base64.b64encode(random_bytes).decode()


async def create(
    connection: AsyncConnection, *, webhook_id: UUID, user_id: UUID, url: str, secret: str, events: Sequence[str]
) -> Webhook:
    """Adds a webhook. The caller commits. Raises CatalogueError `too_many_webhooks`."""
    await connection.execute(LOCK_USER, {"user_id": user_id})
    values = {"id": webhook_id, "user_id": user_id, "url": url, "secret": secret, "events": list(events)}
    row = (await connection.execute(CREATE, values | {"max_webhooks": MAX_WEBHOOKS})).first()
    if row is None:
        detail = f"An account may have {MAX_WEBHOOKS} webhooks."
        raise CatalogueError("too_many_webhooks", detail, retry_after=LIMIT_RETRY_SECONDS)
    return _webhook(row)


async def list_webhooks(
    database: AsyncEngine, user_id: UUID, *, limit: int, before: UUID | None = None
) -> list[Webhook]:
    """Returns the caller's webhooks, newest first. before: the last id of the previous page."""
    async with database.connect() as connection:
        values = {"user_id": user_id, "limit": limit, "before": before}
        return [_webhook(row) for row in (await connection.execute(LIST, values)).all()]


async def get_of_user(database: AsyncEngine, user_id: UUID, webhook_id: UUID) -> Webhook | None:
    """Returns one of the caller's webhooks."""
    async with database.connect() as connection:
        row = (await connection.execute(GET_OF_USER, {"id": webhook_id, "user_id": user_id})).first()
    return None if row is None else _webhook(row)


async def get(database: AsyncEngine, webhook_id: UUID) -> Webhook | None:
    """Returns any webhook, for the sender."""
    async with database.connect() as connection:
        row = (await connection.execute(GET, {"id": webhook_id})).first()
    return None if row is None else _webhook(row)


async def delete(database: AsyncEngine, user_id: UUID, webhook_id: UUID) -> bool:
    """Deletes a webhook and its pending notifications. False when the caller has no such webhook."""
    async with database.begin() as connection:
        return (await connection.execute(DELETE, {"id": webhook_id, "user_id": user_id})).first() is not None


async def disable(database: AsyncEngine, webhook_id: UUID, extraction_id: UUID, error: str) -> bool:
    """Disables a webhook, ends its pending notifications, and adds an e-mail to its owner. False when it was
    disabled.
    """
    values = {"id": webhook_id, "extraction_id": extraction_id, "error": error}
    async with database.begin() as connection:
        await connection.execute(LOCK_EXTRACTION, {"extraction_id": extraction_id})
        return (await connection.execute(DISABLE, values)).first() is not None


def _webhook(row: Row[Any]) -> Webhook:
    return Webhook(**{name: getattr(row, name) for name in Webhook.__slots__})

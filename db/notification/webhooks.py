"""Webhooks: the addresses that an account's programs listen at."""

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
"""What a webhook can be told."""
MAX_WEBHOOKS = 10
"""Of one account."""
SECRET_BYTES = 32
LIMIT_RETRY_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Webhook:
    """events: those of EVENTS that it is told. disabled_at: since when it is off, having answered that it is gone."""

    id: UUID
    url: str
    events: Sequence[str]
    created_at: datetime
    disabled_at: datetime | None
    secret: str = field(repr=False)


_WEBHOOK = "id, url, events, created_at, disabled_at, secret"

# The account is locked, so that calls at the same time can't pass the limit together.
LOCK_USER = text("SELECT id FROM users WHERE id = :user_id FOR NO KEY UPDATE")
CREATE = text(f"""
    INSERT INTO webhooks (id, user_id, url, secret, events)
    SELECT :id, :user_id, :url, :secret, :events
    WHERE (SELECT count(*) FROM webhooks WHERE user_id = :user_id) < :most
    RETURNING {_WEBHOOK}
""")
LIST = text(f"""
    SELECT {_WEBHOOK} FROM webhooks
    WHERE user_id = :user_id AND (CAST(:before AS uuid) IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit
""")
OWN = text(f"SELECT {_WEBHOOK} FROM webhooks WHERE id = :id AND user_id = :user_id")
BY_ID = text(f"SELECT {_WEBHOOK} FROM webhooks WHERE id = :id")
DELETE = text("""
    WITH deleted AS (DELETE FROM webhooks WHERE id = :id AND user_id = :user_id RETURNING id), owed AS (
        DELETE FROM outbox USING deleted WHERE outbox.channel = 'webhook:' || deleted.id
    )
    SELECT id FROM deleted
""")
# One row of the outbox tells the owner; it stands by the extraction whose delivery was answered so.
SWITCH_OFF = text("""
    WITH off AS (
        UPDATE webhooks SET disabled_at = clock_timestamp() WHERE id = :id AND disabled_at IS NULL RETURNING id
    ), owed AS (
        UPDATE outbox SET given_up_at = clock_timestamp(), last_error = :error
        FROM off WHERE outbox.channel = 'webhook:' || off.id AND delivered_at IS NULL AND given_up_at IS NULL
    ), about AS (
        SELECT id FROM extractions WHERE id = :extraction_id
    ), told AS (
        INSERT INTO outbox (id, extraction_id, channel)
        SELECT uuid_v7(), about.id, 'webhook_off:' || off.id FROM off, about
        ON CONFLICT (extraction_id, channel) DO NOTHING
    )
    SELECT id FROM off
""")


def secret_of(random_bytes: bytes) -> str:
    """The secret as Standard Webhooks writes it. random_bytes: SECRET_BYTES of them."""
    return "whsec_" + base64.b64encode(random_bytes).decode()


async def create(
    connection: AsyncConnection, *, webhook_id: UUID, user_id: UUID, url: str, secret: str, events: Sequence[str]
) -> Webhook:
    """Adds a webhook; the caller commits. Raises CatalogueError `too_many_webhooks`."""
    await connection.execute(LOCK_USER, {"user_id": user_id})
    values = {"id": webhook_id, "user_id": user_id, "url": url, "secret": secret, "events": list(events)}
    row = (await connection.execute(CREATE, values | {"most": MAX_WEBHOOKS})).first()
    if row is None:
        detail = f"An account may have {MAX_WEBHOOKS} webhooks."
        raise CatalogueError("too_many_webhooks", detail, retry_after=LIMIT_RETRY_SECONDS)
    return _webhook(row)


async def list_own(database: AsyncEngine, user_id: UUID, *, limit: int, before: UUID | None = None) -> list[Webhook]:
    """The caller's webhooks, newest first. before: the last id of the page before."""
    async with database.connect() as connection:
        values = {"user_id": user_id, "limit": limit, "before": before}
        return [_webhook(row) for row in (await connection.execute(LIST, values)).all()]


async def own(database: AsyncEngine, user_id: UUID, webhook_id: UUID) -> Webhook | None:
    """A webhook of the caller's."""
    async with database.connect() as connection:
        row = (await connection.execute(OWN, {"id": webhook_id, "user_id": user_id})).first()
    return None if row is None else _webhook(row)


async def find(database: AsyncEngine, webhook_id: UUID) -> Webhook | None:
    """Any webhook: for the sender."""
    async with database.connect() as connection:
        row = (await connection.execute(BY_ID, {"id": webhook_id})).first()
    return None if row is None else _webhook(row)


async def delete(database: AsyncEngine, user_id: UUID, webhook_id: UUID) -> bool:
    """Removes a webhook and what was owed to it. False when there is none of the caller's."""
    async with database.begin() as connection:
        return (await connection.execute(DELETE, {"id": webhook_id, "user_id": user_id})).first() is not None


async def switch_off(database: AsyncEngine, webhook_id: UUID, extraction_id: UUID, error: str) -> bool:
    """Ends what a webhook is owed, sends no more to it, and owes its owner an e-mail. False when it was off."""
    values = {"id": webhook_id, "extraction_id": extraction_id, "error": error}
    async with database.begin() as connection:
        await connection.execute(LOCK_EXTRACTION, {"extraction_id": extraction_id})
        return (await connection.execute(SWITCH_OFF, values)).first() is not None


def _webhook(row: Row[Any]) -> Webhook:
    return Webhook(**{name: getattr(row, name) for name in Webhook.__slots__})

"""API keys: long-lived secrets with which an account's programs authenticate. Only their hashes are stored."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.accounts.accounts import ADMITTED, Principal
from db.values.error_catalogue import CatalogueError

MAX_API_KEYS = 50
"""For each account."""
USE_MINUTES = 5
"""The use of a key is written at most once in so many minutes."""
LIMIT_RETRY_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class ApiKey:
    """last_used_at: to USE_MINUTES; None when it was never used."""

    id: UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None


_API_KEY = "id, name, created_at, last_used_at"

# Locks the account, so that concurrent calls can't exceed the limit together.
LOCK_USER = text("SELECT id FROM users WHERE id = :user_id AND erased_at IS NULL FOR NO KEY UPDATE")
CREATE = text(f"""
    INSERT INTO api_keys (id, user_id, name, secret_hash)
    SELECT :id, :user_id, :name, :secret_hash
    WHERE (SELECT count(*) FROM api_keys WHERE user_id = :user_id) < :max_api_keys
    RETURNING {_API_KEY}
""")
LIST = text(f"""
    SELECT {_API_KEY} FROM api_keys
    WHERE user_id = :user_id AND (CAST(:before AS uuid) IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit
""")
DELETE = text("DELETE FROM api_keys WHERE id = :id AND user_id = :user_id")
PRINCIPAL = text(f"""
    SELECT users.id AS user_id, users.email, users.role, api_keys.id, api_keys.secret_hash,
        api_keys.last_used_at IS NULL OR api_keys.last_used_at < now() - make_interval(mins => :use_minutes) AS is_due
    FROM api_keys JOIN users ON users.id = api_keys.user_id
    WHERE api_keys.id = :id AND {ADMITTED}
""")
# Of concurrent requests with one key, one writes and no other waits for it.
RECORD_USE = text("""
    UPDATE api_keys SET last_used_at = now()
    WHERE id = (SELECT id FROM api_keys WHERE id = :id FOR NO KEY UPDATE SKIP LOCKED)
""")


async def create(database: AsyncEngine, *, api_key_id: UUID, user_id: UUID, name: str, secret_hash: bytes) -> ApiKey:
    """Adds a key. Raises CatalogueError `too_many_api_keys`, or `unauthenticated` when the account was erased."""
    values = {"id": api_key_id, "user_id": user_id, "name": name, "secret_hash": secret_hash}
    async with database.begin() as connection:
        if (await connection.execute(LOCK_USER, {"user_id": user_id})).first() is None:
            raise CatalogueError("unauthenticated", "The account was erased.")
        row = (await connection.execute(CREATE, values | {"max_api_keys": MAX_API_KEYS})).first()
    if row is None:
        detail = f"An account may have {MAX_API_KEYS} API keys."
        raise CatalogueError("too_many_api_keys", detail, retry_after=LIMIT_RETRY_SECONDS)
    return _api_key(row)


async def list_api_keys(
    database: AsyncEngine, user_id: UUID, *, limit: int, before: UUID | None = None
) -> list[ApiKey]:
    """Returns the account's keys, newest first. before: the last id of the previous page."""
    async with database.connect() as connection:
        values = {"user_id": user_id, "limit": limit, "before": before}
        return [_api_key(row) for row in (await connection.execute(LIST, values)).all()]


async def delete(database: AsyncEngine, user_id: UUID, api_key_id: UUID) -> bool:
    """Deletes a key: it is good for nothing from the next request on. False when the account has no such key."""
    async with database.begin() as connection:
        return (await connection.execute(DELETE, {"id": api_key_id, "user_id": user_id})).rowcount == 1


async def principal(database: AsyncEngine, api_key_id: UUID, secret_hash: bytes) -> Principal | None:
    """Returns the account of a key, and records that the key was used. None for a wrong secret and an unknown key."""
    async with database.connect() as connection:
        row = (await connection.execute(PRINCIPAL, {"id": api_key_id, "use_minutes": USE_MINUTES})).first()
    if row is None or not hmac.compare_digest(bytes(row.secret_hash), secret_hash):
        return None
    if row.is_due:
        async with database.begin() as connection:
            await connection.execute(RECORD_USE, {"id": api_key_id})
    return Principal(row.user_id, row.id, row.email, row.role, expires_at=None)


def _api_key(row: Row[Any]) -> ApiKey:
    return ApiKey(row.id, row.name, row.created_at, row.last_used_at)

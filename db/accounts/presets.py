"""Presets: the named frame specifications of an account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.accounts.api_keys import LOCK_USER
from db.values.error_catalogue import CatalogueError

MAX_PRESETS = 100
"""For each account."""
MAX_SPEC_BYTES = 40_000
"""Of a preset's canonical specification, so that a list of presets stays small."""
LIMIT_RETRY_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Preset:
    """spec: canonical JSON text."""

    name: str
    spec: str
    created_at: datetime
    updated_at: datetime


_PRESET = "name, spec, created_at, updated_at"

# xmax is 0 in a row that was inserted, not updated.
SAVE = text(f"""
    INSERT INTO presets (user_id, name, spec)
    SELECT :user_id, :name, :spec
    WHERE (SELECT count(*) FROM presets WHERE user_id = :user_id) < :max_presets
       OR EXISTS (SELECT FROM presets WHERE user_id = :user_id AND name = :name)
    ON CONFLICT (user_id, name) DO UPDATE SET spec = excluded.spec, updated_at = now()
    RETURNING {_PRESET}, xmax = 0 AS is_new
""")
LIST = text(f"SELECT {_PRESET} FROM presets WHERE user_id = :user_id ORDER BY name")
DELETE = text("DELETE FROM presets WHERE user_id = :user_id AND name = :name")


async def save(database: AsyncEngine, user_id: UUID, name: str, spec: str) -> tuple[Preset, bool]:
    """Adds a preset, or replaces the one of this name. Returns it, and whether it is new.

    Raises CatalogueError `too_many_presets`, or `unauthenticated` when the account was erased.
    """
    values = {"user_id": user_id, "name": name, "spec": spec, "max_presets": MAX_PRESETS}
    async with database.begin() as connection:
        if (await connection.execute(LOCK_USER, {"user_id": user_id})).first() is None:
            raise CatalogueError("unauthenticated", "The account was erased.")
        row = (await connection.execute(SAVE, values)).first()
    if row is None:
        detail = f"An account may have {MAX_PRESETS} presets."
        raise CatalogueError("too_many_presets", detail, retry_after=LIMIT_RETRY_SECONDS)
    return _preset(row), row.is_new


async def list_presets(database: AsyncEngine, user_id: UUID) -> list[Preset]:
    """Returns the account's presets in the order of their names."""
    async with database.connect() as connection:
        return [_preset(row) for row in (await connection.execute(LIST, {"user_id": user_id})).all()]


async def delete(database: AsyncEngine, user_id: UUID, name: str) -> bool:
    """Deletes a preset. False when the account has none of this name."""
    async with database.begin() as connection:
        return (await connection.execute(DELETE, {"user_id": user_id, "name": name})).rowcount == 1


def _preset(row: Row[Any]) -> Preset:
    return Preset(row.name, row.spec, row.created_at, row.updated_at)

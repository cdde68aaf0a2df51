"""Queues failed extractions anew. An end is final: a new try is a new extraction; the failed one keeps its history."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from db.acceptance import accept
from db.acceptance.accept import Reextraction
from db.values.error_catalogue import CatalogueError
from db.values.lifecycle import ExtractionStatus


@dataclass(frozen=True, slots=True)
class EndedExtraction:
    """An extraction that may be queued anew. newer_id: a later extraction of the same video with the same specification
    that has not failed; None without one. request_id, traceparent: of db.tracing_api.Origin.
    """

    id: UUID
    video_id: UUID
    user_id: UUID
    email: str
    status: ExtractionStatus
    code: str | None
    finished_at: datetime | None
    spec: str
    newer_id: UUID | None
    request_id: str | None
    traceparent: str | None

    @property
    def refusal(self) -> str | None:
        """Why it is not queued anew; None when it may be."""
        if self.status is not ExtractionStatus.FAILED:
            return f"it is {self.status}; only a failed one is queued anew"
        return None if self.newer_id is None else f"it was tried again: {self.newer_id}"


_SAME = "newer.video_id = extractions.video_id AND newer.spec = extractions.spec AND newer.id > extractions.id"
_COLUMNS = f"""
    extractions.id, extractions.video_id, extractions.user_id, users.email, extractions.status,
    extractions.error_code AS code, extractions.finished_at, extractions.spec, extractions.request_id,
    extractions.traceparent, (
        SELECT newer.id FROM extractions AS newer
        WHERE {_SAME} AND newer.status IN ('queued', 'running', 'succeeded') ORDER BY newer.id DESC LIMIT 1
    ) AS newer_id
"""
_ROWS = "extractions JOIN users ON users.id = extractions.user_id AND users.erased_at IS NULL"
FIND = text(f"SELECT {_COLUMNS} FROM {_ROWS} WHERE extractions.id = ANY(:ids) ORDER BY extractions.id")
LOCK = text("SELECT FROM extractions WHERE id = :id FOR NO KEY UPDATE")
# Of several failed tries only the last one.
FIND_FAILED = text(f"""
    SELECT {_COLUMNS} FROM {_ROWS}
    WHERE extractions.status = 'failed' AND extractions.finished_at >= :since
      AND (CAST(:codes AS text[]) IS NULL OR extractions.error_code = ANY(CAST(:codes AS text[])))
      AND NOT EXISTS (SELECT FROM extractions AS newer WHERE {_SAME})
    ORDER BY extractions.id
""")


async def find(database: AsyncEngine, ids: Collection[UUID]) -> list[EndedExtraction]:
    """Returns the extractions that exist, in the order of their ids."""
    async with database.connect() as connection:
        return [_ended(row) for row in (await connection.execute(FIND, {"ids": list(ids)})).all()]


async def find_failed(database: AsyncEngine, since: datetime, codes: Sequence[str] | None) -> list[EndedExtraction]:
    """Returns what has failed since then and was not tried again. codes: only with these errors; None for any."""
    async with database.connect() as connection:
        rows = (await connection.execute(FIND_FAILED, {"since": since, "codes": codes})).all()
    return [_ended(row) for row in rows]


async def requeue(database: AsyncEngine, extraction_id: UUID) -> UUID:
    """Queues a failed extraction anew; returns the id of the new one. No quota is asked: the operator decides.

    Raises CatalogueError `not_found`, `wrong_state` or `video_expired`.
    """
    async with database.begin() as connection:
        # Locked, so that two operators do not queue it twice. Only the next statement sees what the other one added.
        await connection.execute(LOCK, {"id": extraction_id})
        row = (await connection.execute(FIND, {"ids": [extraction_id]})).first()
        if row is None:
            raise CatalogueError("not_found")
        ended = _ended(row)
        if ended.refusal is not None:
            raise CatalogueError("wrong_state", f"{extraction_id}: {ended.refusal}.")
        # Nobody sent a new request: spans and log lines of the new try are found by the ids of the first one.
        again = Reextraction(
            ended.user_id, ended.video_id, uuid7(), uuid7(), ended.spec, ended.request_id, ended.traceparent
        )
        await accept.extract_again(connection, again)
    return again.extraction_id


def _ended(row: Row[Any]) -> EndedExtraction:
    fields = {name: getattr(row, name) for name in EndedExtraction.__slots__}
    return EndedExtraction(**fields | {"status": ExtractionStatus(row.status)})

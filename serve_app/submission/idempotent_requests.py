"""Idempotency-Key: reads the header, claims the key while its request runs, and replays the stored response.

An endpoint first looks for a stored response, so that a repeated request passes every limit and a refused request
writes nothing. Then it claims the key and stores the response in the transaction that does the work.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.datastructures import Headers
from starlette.responses import Response
from uuid_utils.compat import uuid7

from db.acceptance import idempotency_keys, idempotency_lease
from db.acceptance.idempotency_keys import OwnedKey, StoredResponse
from db.values.error_catalogue import CatalogueError

HEADER = "idempotency-key"
REPLAYED = {"Idempotency-Replayed": "true"}
"""The header of a response that answers a repeated request."""
_VALID_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def idempotency_key(headers: Headers, user_id: UUID, route: str) -> OwnedKey | None:
    """The request's key, with an owner of its own; None without the header. Raises CatalogueError `invalid_field`."""
    key = headers.get(HEADER)
    if key is None:
        return None
    if not _VALID_KEY.fullmatch(key):
        raise CatalogueError("invalid_field", "Idempotency-Key: 1 to 255 visible ASCII characters.")
    return OwnedKey(user_id, route, key, uuid7())


def request_fingerprint(values: Any) -> str:
    """A digest of JSON values. Two requests are the same request when their fingerprints are equal."""
    return hashlib.sha256(orjson.dumps(values)).hexdigest()


async def find_response(database: AsyncEngine, key: OwnedKey | None) -> StoredResponse | None:
    """The response that is stored for the key. Raises CatalogueError `idempotency_in_progress`."""
    return None if key is None else await idempotency_keys.find_response(database, key)


@asynccontextmanager
async def claim_key(database: AsyncEngine, key: OwnedKey | None) -> AsyncIterator[StoredResponse | None]:
    """Claims the key while the block runs. A block that raises releases the key.

    Yields None, or the response that another request has stored meanwhile; then nothing is claimed. Raises
    CatalogueError `idempotency_in_progress`.
    """
    if key is None:
        yield None
        return
    async with idempotency_lease.leased(database, key) as stored:
        yield stored


async def store_response(
    connection: AsyncConnection, key: OwnedKey | None, fingerprint: str, status_code: int, body: bytes
) -> None:
    """Stores the response in the caller's transaction, for a repeated request. Does nothing without a key.

    Raises CatalogueError `idempotency_in_progress` when another request has taken the key; then nothing may commit.
    """
    if key is not None:
        await idempotency_keys.store_responses(
            connection, {key: StoredResponse(fingerprint, status_code, body.decode())}
        )


def replay(stored: StoredResponse, fingerprint: str) -> Response:
    """The response of the first request. Raises CatalogueError `idempotency_key_reused` for a different request."""
    if stored.fingerprint != fingerprint:
        raise CatalogueError("idempotency_key_reused")
    return Response(stored.response, stored.status, REPLAYED, media_type="application/json")

"""Idempotency-Key: reads the header, claims the key while its request runs, and replays the stored response.

An endpoint first looks for a stored response, so that a repeated request passes every limit and a refused request
writes nothing. Then it claims the key and stores the response in the transaction that does the work.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import orjson
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.datastructures import Headers
from starlette.responses import Response
from uuid_utils.compat import uuid7

from db.acceptance import idempotency_keys
from db.acceptance.idempotency_keys import LEASE_SECONDS, OwnedKey, StoredResponse
from db.connection import is_outage, retry_until_available
from db.values.error_catalogue import CatalogueError
from serve_app.http.run_to_completion import run_to_completion

HEADER = "idempotency-key"
REPLAYED = {"Idempotency-Replayed": "true"}
"""The header of a response that answers a repeated request."""
MAX_RELEASE_RETRY_SECONDS = 1.0
_VALID_KEY = re.compile(r"[\x21-\x7e]{1,255}")

# The event loop keeps only weak references to its tasks.
_RELEASING: set[asyncio.Task[None]] = set()

log = structlog.get_logger(__name__)


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
    renewal: asyncio.Task[None] | None = None
    try:
        stored = await idempotency_keys.claim(database, key)
        if stored is None:
            renewal = asyncio.create_task(_renew(database, key))
        yield stored
    except BaseException as error:
        # A claim whose answer was lost may be committed. Releasing a key of another request changes nothing.
        if renewal is not None or not isinstance(error, CatalogueError):
            await run_to_completion(_release(database, key))
        raise
    finally:
        if renewal is not None:
            renewal.cancel()


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


async def _renew(database: AsyncEngine, key: OwnedKey) -> None:
    while True:
        await asyncio.sleep(LEASE_SECONDS / 3)
        try:
            await idempotency_keys.renew(database, key)
        except CatalogueError:
            # Another request has taken the key. This one can't store its response, so it commits nothing.
            return
        except Exception as error:
            if not is_outage(error):
                raise


async def _release(database: AsyncEngine, key: OwnedKey) -> None:
    """Releases the key, unless a response is stored. During an outage it continues in the background."""
    try:
        await idempotency_keys.release(database, key)
    except Exception as error:
        if not is_outage(error):
            raise
        # Without this, a repeated request is refused until the lease expires.
        task = asyncio.create_task(_release_after_outage(database, key))
        _RELEASING.add(task)
        task.add_done_callback(_RELEASING.discard)


async def _release_after_outage(database: AsyncEngine, key: OwnedKey) -> None:
    try:
        async with asyncio.timeout(LEASE_SECONDS):
            await retry_until_available(
                lambda: idempotency_keys.release(database, key), max_seconds=MAX_RELEASE_RETRY_SECONDS
            )
    except Exception:
        log.exception(
            "An idempotency key could not be released.", event_name="idempotency_key.release_failed", route=key.route
        )

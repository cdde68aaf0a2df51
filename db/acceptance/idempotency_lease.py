"""An idempotency key that belongs to one call while it runs: claimed, renewed, and released when the call fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from db.acceptance import idempotency_keys
from db.acceptance.idempotency_keys import LEASE_SECONDS, OwnedKey, StoredResponse
from db.connection import is_outage, retry_until_available
from db.run_to_completion import run_to_completion
from db.values.error_catalogue import CatalogueError

MAX_RELEASE_RETRY_SECONDS = 1.0

# The event loop keeps only weak references to its tasks.
_RELEASING: set[asyncio.Task[None]] = set()

log = structlog.get_logger(__name__)


@asynccontextmanager
async def leased(database: AsyncEngine, key: OwnedKey) -> AsyncIterator[StoredResponse | None]:
    """Claims the key while the block runs. A block that raises releases the key.

    Yields None, or the response that another call has stored meanwhile; then nothing is claimed. Raises CatalogueError
    `idempotency_in_progress`.
    """
    renewal: asyncio.Task[None] | None = None
    try:
        stored = await idempotency_keys.claim(database, key)
        if stored is None:
            renewal = asyncio.create_task(_renew(database, key))
        yield stored
    except BaseException as error:
        # A claim whose answer was lost may be committed. Releasing a key of another call changes nothing.
        if renewal is not None or not isinstance(error, CatalogueError):
            await run_to_completion(_release(database, key))
        raise
    finally:
        if renewal is not None:
            renewal.cancel()


async def _renew(database: AsyncEngine, key: OwnedKey) -> None:
    while True:
        await asyncio.sleep(LEASE_SECONDS / 3)
        try:
            await idempotency_keys.renew(database, key)
        except CatalogueError:
            # Another call has taken the key. This one can't store its response, so it commits nothing.
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
        # Without this, a repeated call is refused until the lease expires.
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

"""Idempotency-Key: the header, the lease while a call runs, and the answer to a repeated one."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from db.acceptance import idempotency_keys
from db.acceptance.idempotency_keys import LEASE_SECONDS, Answer, OwnedKey
from db.accounts import Principal
from db.connection import is_outage, retry_until_available
from db.values.error_catalogue import CatalogueError
from serve_app.http.cancellation import run_to_completion
from serve_app.submission.admission_control import Admit

HEADER = "idempotency-key"
DROP_AGAIN_SECONDS = 1.0
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

# The loop itself holds its tasks weakly.
_DROPPING: set[asyncio.Task[None]] = set()

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class IdempotentCall:
    """A call and its key. owned: None when the call has no key. known: what was answered to it before."""

    owned: OwnedKey | None
    known: Answer | None

    def answer(self, fingerprint: str, status: int, response: bytes) -> dict[OwnedKey, Answer]:
        """What `db.acceptance.idempotency_keys.finish` stores in the transaction that does the work: nothing without
        a key.
        """
        return {} if self.owned is None else {self.owned: Answer(fingerprint, status, response.decode())}

    def replay(self, fingerprint: str) -> Response:
        """The answer of the first call. Raises CatalogueError `idempotency_key_reused` for another request."""
        assert self.known is not None
        if self.known.fingerprint != fingerprint:
            raise CatalogueError("idempotency_key_reused")
        headers = {"Idempotency-Replayed": "true"}
        return Response(self.known.response, self.known.status, headers, media_type="application/json")


@asynccontextmanager
async def idempotent_call(
    request: Request, database: AsyncEngine, who: Principal, route: str, admit: Admit | None = None
) -> AsyncIterator[IdempotentCall]:
    """Keeps the request's key while it is worked on; one that ends without an answer is free again.

    admit: asked whether the request may come in, unless its key has an answer: a repeated call passes any limit.
    Raises CatalogueError `invalid_field` or `idempotency_in_progress`, and as `admit`.
    """
    key = request.headers.get(HEADER)
    if key is None:
        if admit is not None:
            await admit()
        yield IdempotentCall(None, None)
        return
    if not _KEY.fullmatch(key):
        raise CatalogueError("invalid_field", "Idempotency-Key: 1 to 255 visible ASCII characters.")
    owned = OwnedKey(who.user_id, route, key, uuid7())
    known = None
    if admit is not None:
        # Looked up before the key is acquired: a refused call writes nothing.
        known = await idempotency_keys.known(database, owned)
        if known is None:
            await admit()
    known = known or await _acquire(database, owned)
    if known is not None:
        yield IdempotentCall(owned, known)
        return
    renewing = asyncio.create_task(_renew(database, owned))
    try:
        yield IdempotentCall(owned, None)
    except BaseException:
        await run_to_completion(_drop(database, owned))
        raise
    finally:
        renewing.cancel()


def fingerprint(request: Any) -> str:
    """The digest of what was asked, given as JSON values."""
    return hashlib.sha256(orjson.dumps(request)).hexdigest()


async def _renew(database: AsyncEngine, owned: OwnedKey) -> None:
    while True:
        await asyncio.sleep(LEASE_SECONDS / 3)
        try:
            await idempotency_keys.renew(database, owned)
        except CatalogueError:
            # Another call took the key over: finishing will be refused, and so nothing is committed twice.
            return
        except Exception as error:
            if not is_outage(error):
                raise


async def _acquire(database: AsyncEngine, owned: OwnedKey) -> Answer | None:
    """As `db.acceptance.idempotency_keys.acquire`. A key is freed that may have been acquired without an answer."""
    try:
        return await idempotency_keys.acquire(database, owned)
    except CatalogueError:
        raise
    except BaseException:
        await run_to_completion(_drop(database, owned))
        raise


async def _drop(database: AsyncEngine, owned: OwnedKey) -> None:
    """An answer that was committed stays. While the database is away it is gone on with in the background: whoever
    repeats the call would be put off until the lease ends."""
    try:
        await idempotency_keys.drop(database, owned)
    except Exception as error:
        if not is_outage(error):
            raise
        later = asyncio.create_task(_drop_later(database, owned))
        _DROPPING.add(later)
        later.add_done_callback(_DROPPING.discard)


async def _drop_later(database: AsyncEngine, owned: OwnedKey) -> None:
    try:
        async with asyncio.timeout(LEASE_SECONDS):
            await retry_until_available(lambda: idempotency_keys.drop(database, owned), max_seconds=DROP_AGAIN_SECONDS)
    except Exception:
        log.exception("A key could not be freed.", event_name="idempotency.kept", route=owned.route)

"""Idempotency keys: the same key with the same request gets the same response.

The row of a running call is a lease with an owner, so that a call whose replica died can be repeated. The response is
written in the transaction that does the work, fenced by that owner. A response is kept for a day, or as long as a
video: then the same key never makes a second one beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.values.error_catalogue import CatalogueError

LEASE_SECONDS = 20.0
"""Renewed three times in this time. A repeated call waits this long when the replica of the first call died."""
RETENTION_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class OwnedKey:
    """A key of one user on one route, owned by one call."""

    user_id: UUID
    route: str
    key: str
    owner: UUID


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A stored response. fingerprint: digest of the request. response: the JSON text.

    kept_with: the video with which the response is kept and deleted; None: it is kept for RETENTION_SECONDS.
    """

    fingerprint: str
    status: int
    response: str
    kept_with: UUID | None = None


_SAME_KEY = "user_id = :user_id AND route = :route AND key = :key"
_OLD = "video_id IS NULL AND created_at < clock_timestamp() - make_interval(secs => :kept_seconds)"

# Takes free keys, expired keys and expired leases; a response that has not expired stays.
CLAIM = text("""
    INSERT INTO idempotency_keys AS existing (user_id, route, key, owner, lease_expires_at)
    VALUES (:user_id, :route, :key, :owner, clock_timestamp() + make_interval(secs => :lease_seconds))
    ON CONFLICT (user_id, route, key) DO UPDATE
    SET owner = excluded.owner, lease_expires_at = excluded.lease_expires_at, created_at = clock_timestamp(),
        fingerprint = NULL, status = NULL, response = NULL
    WHERE existing.video_id IS NULL AND existing.created_at < clock_timestamp() - make_interval(secs => :kept_seconds)
       OR existing.response IS NULL AND existing.lease_expires_at < clock_timestamp()
    RETURNING owner
""")
READ = text(f"SELECT fingerprint, status, response FROM idempotency_keys WHERE {_SAME_KEY}")
# A row that CLAIM does not take.
FIND_RESPONSE = text(f"""
    SELECT fingerprint, status, response FROM idempotency_keys
    WHERE {_SAME_KEY} AND NOT ({_OLD})
      AND (response IS NOT NULL OR lease_expires_at >= clock_timestamp())
""")
RENEW = text(f"""
    UPDATE idempotency_keys SET lease_expires_at = clock_timestamp() + make_interval(secs => :lease_seconds)
    WHERE {_SAME_KEY} AND owner = :owner AND response IS NULL RETURNING owner
""")
STORE_RESPONSES = text("""
    UPDATE idempotency_keys AS owned
    SET fingerprint = answered.fingerprint, status = answered.status, response = answered.response,
        video_id = answered.video_id
    FROM unnest(
        CAST(:user_ids AS uuid[]), CAST(:routes AS text[]), CAST(:keys AS text[]), CAST(:owners AS uuid[]),
        CAST(:fingerprints AS text[]), CAST(:statuses AS smallint[]), CAST(:responses AS text[]),
        CAST(:video_ids AS uuid[])
    ) AS answered (user_id, route, key, owner, fingerprint, status, response, video_id)
    WHERE owned.user_id = answered.user_id AND owned.route = answered.route AND owned.key = answered.key
      AND owned.owner = answered.owner AND owned.response IS NULL
    RETURNING owned.owner
""")
RELEASE = text(f"DELETE FROM idempotency_keys WHERE {_SAME_KEY} AND owner = :owner AND response IS NULL")
DELETE_EXPIRED = text(f"DELETE FROM idempotency_keys WHERE {_OLD}")


async def find_response(database: AsyncEngine, owned: OwnedKey) -> StoredResponse | None:
    """Returns the stored response of a key that has not expired, without claiming it. Raises as `claim`."""
    async with database.connect() as connection:
        row = (await connection.execute(FIND_RESPONSE, _values(owned) | {"kept_seconds": RETENTION_SECONDS})).first()
    if row is None:
        return None
    if row.response is None:
        raise CatalogueError("idempotency_in_progress", retry_after=1)
    return StoredResponse(row.fingerprint, row.status, row.response)


async def claim(database: AsyncEngine, owned: OwnedKey) -> StoredResponse | None:
    """Claims the key for this call, or returns its stored response.

    Raises CatalogueError `idempotency_in_progress` while another call has the key.
    """
    values = _values(owned)
    async with database.begin() as connection:
        lengths = {"lease_seconds": LEASE_SECONDS, "kept_seconds": RETENTION_SECONDS}
        claimed = await connection.execute(CLAIM, values | lengths)
        if claimed.first() is not None:
            return None
        row = (await connection.execute(READ, values)).first()
    if row is None or row.response is None:
        raise CatalogueError("idempotency_in_progress", retry_after=1)
    return StoredResponse(row.fingerprint, row.status, row.response)


async def renew(database: AsyncEngine, owned: OwnedKey) -> None:
    """Renews the lease while a long body is read. Raises CatalogueError `idempotency_in_progress` when it was lost."""
    async with database.begin() as connection:
        renewed = await connection.execute(RENEW, _values(owned) | {"lease_seconds": LEASE_SECONDS})
        if renewed.first() is None:
            raise CatalogueError("idempotency_in_progress", retry_after=1)


async def store_responses(connection: AsyncConnection, responses: Mapping[OwnedKey, StoredResponse]) -> None:
    """Stores the response of each call in the caller's transaction.

    Raises as `renew` when a lease was lost: then the caller's work must not commit.
    """
    if not responses:
        return
    values = {
        "user_ids": [owned.user_id for owned in responses],
        "routes": [owned.route for owned in responses],
        "keys": [owned.key for owned in responses],
        "owners": [owned.owner for owned in responses],
        "fingerprints": [response.fingerprint for response in responses.values()],
        "statuses": [response.status for response in responses.values()],
        "responses": [response.response for response in responses.values()],
        "video_ids": [response.kept_with for response in responses.values()],
    }
    if len((await connection.execute(STORE_RESPONSES, values)).all()) < len(responses):
        raise CatalogueError("idempotency_in_progress", retry_after=1)


async def release(database: AsyncEngine, owned: OwnedKey) -> None:
    """Releases the key of a call that did nothing."""
    async with database.begin() as connection:
        await connection.execute(RELEASE, _values(owned))


async def delete_expired(database: AsyncEngine) -> int:
    """Deletes expired keys; returns how many."""
    async with database.begin() as connection:
        return (await connection.execute(DELETE_EXPIRED, {"kept_seconds": RETENTION_SECONDS})).rowcount


def _values(owned: OwnedKey) -> dict[str, object]:
    return {"user_id": owned.user_id, "route": owned.route, "key": owned.key, "owner": owned.owner}

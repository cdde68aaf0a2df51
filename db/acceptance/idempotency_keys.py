"""Idempotency keys: the same key and the same request answer the same result.

The marker of a running call is a lease with an owner, so that a call whose server died can be repeated; the answer is
written in the transaction that does the work, fenced by that owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.values.error_catalogue import CatalogueError

LEASE_SECONDS = 20.0
"""Renewed three times as often. Whoever repeats a call whose server died is put off for this long."""
KEPT_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Marker:
    """A key of one user on one route, held by one call."""

    user_id: UUID
    route: str
    key: str
    owner: UUID


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered. fingerprint: digest of what was asked. response: the JSON text."""

    fingerprint: str
    status: int
    response: str


_MINE = "user_id = :user_id AND route = :route AND key = :key"

# Free keys, keys past their time and leases that ran out are taken; an answer within its time stays.
TAKE = text("""
    INSERT INTO idempotency_keys AS held (user_id, route, key, owner, lease_expires_at)
    VALUES (:user_id, :route, :key, :owner, clock_timestamp() + make_interval(secs => :lease_seconds))
    ON CONFLICT (user_id, route, key) DO UPDATE
    SET owner = excluded.owner, lease_expires_at = excluded.lease_expires_at, created_at = clock_timestamp(),
        fingerprint = NULL, status = NULL, response = NULL
    WHERE held.created_at < clock_timestamp() - make_interval(secs => :kept_seconds)
       OR held.response IS NULL AND held.lease_expires_at < clock_timestamp()
    RETURNING owner
""")
READ = text(f"SELECT fingerprint, status, response FROM idempotency_keys WHERE {_MINE}")
# What TAKE would leave as it is.
LIVE = text(f"""
    SELECT fingerprint, status, response FROM idempotency_keys
    WHERE {_MINE} AND created_at >= clock_timestamp() - make_interval(secs => :kept_seconds)
      AND (response IS NOT NULL OR lease_expires_at >= clock_timestamp())
""")
RENEW = text(f"""
    UPDATE idempotency_keys SET lease_expires_at = clock_timestamp() + make_interval(secs => :lease_seconds)
    WHERE {_MINE} AND owner = :owner AND response IS NULL RETURNING owner
""")
FINISH = text("""
    UPDATE idempotency_keys AS held
    SET fingerprint = answered.fingerprint, status = answered.status, response = answered.response
    FROM unnest(
        CAST(:user_ids AS uuid[]), CAST(:routes AS text[]), CAST(:keys AS text[]), CAST(:owners AS uuid[]),
        CAST(:fingerprints AS text[]), CAST(:statuses AS smallint[]), CAST(:responses AS text[])
    ) AS answered (user_id, route, key, owner, fingerprint, status, response)
    WHERE held.user_id = answered.user_id AND held.route = answered.route AND held.key = answered.key
      AND held.owner = answered.owner AND held.response IS NULL
    RETURNING held.owner
""")
DROP = text(f"DELETE FROM idempotency_keys WHERE {_MINE} AND owner = :owner AND response IS NULL")
EXPIRE = text("""
    DELETE FROM idempotency_keys WHERE created_at < clock_timestamp() - make_interval(secs => :kept_seconds)
""")


async def known(database: AsyncEngine, marker: Marker) -> Answer | None:
    """The answer that the key has within its time, without taking the key. Raises as `take`."""
    async with database.connect() as connection:
        row = (await connection.execute(LIVE, _values(marker) | {"kept_seconds": KEPT_SECONDS})).first()
    if row is None:
        return None
    if row.response is None:
        raise CatalogueError("idempotency_in_progress", retry_after=1)
    return Answer(row.fingerprint, row.status, row.response)


async def take(database: AsyncEngine, marker: Marker) -> Answer | None:
    """Takes the key for this call, or gives the answer that it has already.

    Raises CatalogueError `idempotency_in_progress` while another call holds it.
    """
    values = _values(marker)
    async with database.begin() as connection:
        taken = await connection.execute(TAKE, values | {"lease_seconds": LEASE_SECONDS, "kept_seconds": KEPT_SECONDS})
        if taken.first() is not None:
            return None
        row = (await connection.execute(READ, values)).first()
    if row is None or row.response is None:
        raise CatalogueError("idempotency_in_progress", retry_after=1)
    return Answer(row.fingerprint, row.status, row.response)


async def renew(database: AsyncEngine, marker: Marker) -> None:
    """Keeps the key while a long body is read. Raises CatalogueError `idempotency_in_progress` when it was lost."""
    async with database.begin() as connection:
        renewed = await connection.execute(RENEW, _values(marker) | {"lease_seconds": LEASE_SECONDS})
        if renewed.first() is None:
            raise CatalogueError("idempotency_in_progress", retry_after=1)


async def finish(connection: AsyncConnection, answers: Mapping[Marker, Answer]) -> None:
    """Stores each call's answer in the caller's transaction.

    Raises as `renew` when one was lost: then the caller's work must not commit.
    """
    if not answers:
        return
    values = {
        "user_ids": [marker.user_id for marker in answers],
        "routes": [marker.route for marker in answers],
        "keys": [marker.key for marker in answers],
        "owners": [marker.owner for marker in answers],
        "fingerprints": [answer.fingerprint for answer in answers.values()],
        "statuses": [answer.status for answer in answers.values()],
        "responses": [answer.response for answer in answers.values()],
    }
    if len((await connection.execute(FINISH, values)).all()) < len(answers):
        raise CatalogueError("idempotency_in_progress", retry_after=1)


async def drop(database: AsyncEngine, marker: Marker) -> None:
    """Frees the key of a call that did nothing."""
    async with database.begin() as connection:
        await connection.execute(DROP, _values(marker))


async def expire(database: AsyncEngine) -> int:
    """Removes keys past their time; how many."""
    async with database.begin() as connection:
        return (await connection.execute(EXPIRE, {"kept_seconds": KEPT_SECONDS})).rowcount


def _values(marker: Marker) -> dict[str, object]:
    return {"user_id": marker.user_id, "route": marker.route, "key": marker.key, "owner": marker.owner}

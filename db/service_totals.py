"""Totals of the whole service for its operator: accounts, shares of the work and of the storage, connections.

They are numbers only. No account can be recognised in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.connection import NAME_PREFIX

CONNECTION_KINDS = ("api", "worker", "maintenance", "scaling", "ops")
"""The first words of the names that the parts of the service give their connections; others are `other`."""


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """active_day, active_week: accounts for which something was accepted in that time. with_open_tasks: accounts of
    which tasks are ready or run. largest_open_share: of all open tasks, the part of one account; 0 when there are none.
    """

    enabled: int
    disabled: int
    active_day: int
    active_week: int
    with_open_tasks: int
    largest_open_share: float


@dataclass(frozen=True, slots=True)
class StorageTotals:
    """Bytes. uploads: what open uploads by tus have received. largest_share: of all of it, the part of one account."""

    videos: int
    results: int
    uploads: int
    largest_share: float


@dataclass(frozen=True, slots=True)
class Connections:
    """kind: one of CONNECTION_KINDS, or `other`. in_use: with a statement or a transaction."""

    kind: str
    in_use: int
    idle: int


@dataclass(frozen=True, slots=True)
class DatabaseTotals:
    """limit: the most connections that the server takes."""

    connections: tuple[Connections, ...]
    limit: int


# The ids of acceptances begin with their time: the primary key finds the latest ones in a table that only grows.
ACCOUNTS = text("""
    SELECT accounts.*, recent.*, work.*
    FROM (
        SELECT count(*) FILTER (WHERE disabled_at IS NULL) AS enabled,
            count(*) FILTER (WHERE disabled_at IS NOT NULL) AS disabled
        FROM users WHERE erased_at IS NULL
    ) AS accounts, (
        SELECT count(*) AS active_week,
            count(*) FILTER (WHERE latest > clock_timestamp() - interval '1 day') AS active_day
        FROM (
            SELECT max(accepted_at) AS latest FROM acceptances
            WHERE extraction_id > :since AND accepted_at > clock_timestamp() - interval '7 days' GROUP BY user_id
        ) AS each
    ) AS recent, (
        SELECT count(*) FILTER (WHERE open > 0) AS with_open_tasks,
            coalesce(max(open) / nullif(CAST(sum(open) AS double precision), 0), 0) AS largest_open_share
        FROM shares
    ) AS work
""")
STORAGE = text("""
    WITH stored (user_id, videos, results, uploads) AS (
        SELECT user_id, size, 0, 0 FROM videos WHERE removed_at IS NULL
        UNION ALL SELECT user_id, 0, bytes, 0 FROM results WHERE removed_at IS NULL
        UNION ALL SELECT user_id, 0, 0, received FROM uploads WHERE completed_at IS NULL AND discarded_at IS NULL
    ), of_account AS (
        SELECT sum(videos) AS videos, sum(results) AS results, sum(uploads) AS uploads,
            sum(videos + results + uploads) AS bytes
        FROM stored GROUP BY user_id
    )
    SELECT coalesce(sum(videos), 0) AS videos, coalesce(sum(results), 0) AS results,
        coalesce(sum(uploads), 0) AS uploads, coalesce(max(bytes) / nullif(sum(bytes), 0), 0) AS largest_share
    FROM of_account
""")
CONNECTIONS = text("""
    SELECT coalesce(split_part(substr(application_name, length(:prefix) + 1), ' ', 1), '') AS kind,
        count(*) FILTER (WHERE state <> 'idle') AS in_use, count(*) FILTER (WHERE state = 'idle') AS idle,
        CAST(current_setting('max_connections') AS integer) AS limit
    FROM pg_stat_activity WHERE backend_type = 'client backend'
    GROUP BY kind
""")


async def account_totals(database: AsyncEngine) -> AccountTotals:
    # A day more than is asked for: the ids have the clocks of those that made them.
    since = first_id_at(datetime.now(UTC) - timedelta(days=8))
    async with database.connect() as connection:
        row = (await connection.execute(ACCOUNTS, {"since": since})).one()
    return AccountTotals(
        row.enabled, row.disabled, row.active_day, row.active_week, row.with_open_tasks, float(row.largest_open_share)
    )


async def storage_totals(database: AsyncEngine) -> StorageTotals:
    async with database.connect() as connection:
        row = (await connection.execute(STORAGE)).one()
    return StorageTotals(int(row.videos), int(row.results), int(row.uploads), float(row.largest_share))


async def database_totals(database: AsyncEngine) -> DatabaseTotals:
    """Every kind is counted, also those without a connection."""
    async with database.connect() as connection:
        rows = (await connection.execute(CONNECTIONS, {"prefix": NAME_PREFIX})).all()
    counts = dict.fromkeys((*CONNECTION_KINDS, "other"), (0, 0))
    for row in rows:
        kind = row.kind if row.kind in CONNECTION_KINDS else "other"
        in_use, idle = counts[kind]
        counts[kind] = (in_use + row.in_use, idle + row.idle)
    return DatabaseTotals(tuple(Connections(kind, *both) for kind, both in counts.items()), rows[0].limit)


def first_id_at(moment: datetime) -> UUID:
    """Returns the smallest UUID (version 7) that is made at this moment or later."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)

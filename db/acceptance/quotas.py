"""Quotas of accounts, counted in Postgres, never in the cache.

An account has the quotas of the settings, unless an admin gave it quotas of its own.
A quota is checked twice: before a body is read, so that no client sends what will be refused; and in the accepting
transaction under a lock of the account, so that concurrent requests can't exceed it together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.values.error_catalogue import CatalogueError

WAITING_RETRY_SECONDS = 10
STORED_RETRY_SECONDS = 60
UNKNOWN_DURATION_SECONDS = 60
"""What a video counts for the minutes per day until a worker has planned it, which is when its duration is known."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """None: no limit. waiting: open uploads, and extractions that have not ended. stored_bytes: of videos, open uploads
    and archives together. minutes_per_day: of the videos whose extraction waits or was planned in the last 24 hours.
    """

    waiting: int | None = None
    stored_bytes: int | None = None
    minutes_per_day: int | None = None


UNLIMITED = Quotas()
_COLUMNS = ("waiting", "stored_bytes", "minutes_per_day")


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account has, counted as far as a quota needs: `waiting` only up to that quota.

    day_seconds: of the videos whose extraction was planned in the last 24 hours, or waits and the duration is known.
    over_seconds: until enough of them are older for the account to be below its quota. unknown_durations: open uploads,
    and extractions that wait for the first plan of their video; counted only up to the quota of minutes.
    """

    waiting: int
    stored_bytes: int
    day_seconds: float = 0.0
    over_seconds: float = 0.0
    unknown_durations: int = 0

    def with_more(self, *, files: int, size: int) -> Usage:
        """Returns the usage after so many more files of `size` bytes together."""
        return replace(
            self,
            waiting=self.waiting + files,
            stored_bytes=self.stored_bytes + size,
            unknown_durations=self.unknown_durations + files,
        )


@dataclass(frozen=True, slots=True)
class Allowance:
    """The quotas of an account, and its usage counted as far as they need."""

    quotas: Quotas
    usage: Usage

    def check(self, *, files: int, size: int) -> None:
        """Checks that the account may have so much more. Raises as the function `check`."""
        check(self.quotas, self.usage, files=files, size=size)

    def with_more(self, *, files: int, size: int) -> Allowance:
        """Returns the allowance after so many more files of `size` bytes together."""
        return Allowance(self.quotas, self.usage.with_more(files=files, size=size))


@dataclass(frozen=True, slots=True)
class AccountUsage:
    """The full usage of an account, as its owner sees it."""

    videos: int
    waiting: int
    stored_bytes: int
    minutes_per_day: float


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """What an account may have and what it has. is_own: whether an admin gave it these quotas."""

    quotas: Quotas
    is_own: bool
    usage: AccountUsage


# Released at the end of the transaction. They can't be part of a deadlock: no other code takes these locks, and each
# transaction takes them first and in one order.
LOCK = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('quota:' || CAST(user_id AS text), 0))
    FROM unnest(CAST(:user_ids AS uuid[])) AS asked (user_id)
""")

# The accounts that are asked for, each with its own quotas or else those of the service.
_ASKED = """
    SELECT asked.user_id, own.user_id IS NOT NULL AS is_own,
        CASE WHEN own.user_id IS NULL THEN CAST(:waiting AS bigint) ELSE own.waiting END AS waiting_quota,
        CASE WHEN own.user_id IS NULL THEN CAST(:stored_bytes AS bigint) ELSE own.stored_bytes END AS bytes_quota,
        CASE WHEN own.user_id IS NULL THEN CAST(:minutes_per_day AS bigint) ELSE own.minutes_per_day END
            AS minutes_quota
    FROM unnest(CAST(:user_ids AS uuid[])) AS asked (user_id)
    LEFT JOIN account_quotas AS own ON own.user_id = asked.user_id
"""
# An open upload is counted from its creation as the extraction that it will be: its last byte meets no quota.
_OPEN_UPLOADS = """
    FROM uploads WHERE uploads.user_id = asked.user_id AND completed_at IS NULL AND discarded_at IS NULL
"""
_UNENDED = f"""
    (SELECT FROM extractions WHERE extractions.user_id = asked.user_id AND status IN ('queued', 'running')
     UNION ALL SELECT {_OPEN_UPLOADS})
"""
# A result that several extractions share is counted once.
_STORED_BYTES = f"""
        coalesce((
            SELECT sum(size) FROM videos WHERE videos.user_id = asked.user_id AND videos.removed_at IS NULL
        ), 0) + coalesce((SELECT sum(coalesce(size, received)) {_OPEN_UPLOADS}), 0) + coalesce((
            SELECT sum(bytes) FROM results WHERE results.user_id = asked.user_id AND results.removed_at IS NULL
        ), 0)
"""
# The duration of a video is known once a worker has planned an extraction of it.
_UNPLANNED = """
    FROM extractions JOIN videos ON videos.id = extractions.video_id
    WHERE extractions.user_id = asked.user_id AND status IN ('queued', 'running') AND frames_total IS NULL
"""
_UNKNOWN_DURATIONS = f"(SELECT {_UNPLANNED} AND media IS NULL UNION ALL SELECT {_OPEN_UPLOADS})"
# What waits is counted as if it were planned at this moment. `passed` is the sum from the oldest row up to each row:
# without these rows the account has `total - passed`.
_DAY = f"""
    SELECT planned_at, sum(seconds) OVER () AS total, sum(seconds) OVER (ORDER BY planned_at, extraction_id) AS passed
    FROM (
        SELECT extraction_id, planned_at, seconds FROM planned_durations
        WHERE planned_durations.user_id = asked.user_id AND planned_at > clock_timestamp() - interval '24 hours'
        UNION ALL
        SELECT extractions.id, clock_timestamp(), coalesce(CAST(media ->> 'duration' AS numeric), 0)
        {_UNPLANNED} AND media IS NOT NULL
    ) AS each
"""
# Counts no further than the quota: more rows change nothing. Without a quota nothing is counted.
USAGE = text(f"""
    SELECT asked.*, (
            SELECT count(*) FROM (
                SELECT FROM {_UNENDED} AS unended LIMIT coalesce(asked.waiting_quota, 0)) AS waiting
        ) AS waiting,
        CASE WHEN asked.bytes_quota IS NULL THEN 0 ELSE {_STORED_BYTES} END AS stored_bytes,
        (
            SELECT count(*) FROM (
                SELECT FROM {_UNKNOWN_DURATIONS} AS each LIMIT coalesce(asked.minutes_quota, 0)) AS unknown
        ) AS unknown_durations,
        day.day_seconds, day.over_seconds
    FROM ({_ASKED}) AS asked CROSS JOIN LATERAL (
        SELECT coalesce(max(total), 0) AS day_seconds, coalesce(extract(epoch FROM interval '24 hours'
            + min(planned_at) FILTER (WHERE total - passed < 60 * asked.minutes_quota) - clock_timestamp()), 0)
            AS over_seconds
        FROM ({_DAY}) AS each WHERE asked.minutes_quota IS NOT NULL
    ) AS day
""")
ACCOUNT_USAGE = text(f"""
    SELECT asked.*, (SELECT count(*) FROM videos WHERE videos.user_id = asked.user_id) AS videos,
        (SELECT count(*) FROM {_UNENDED} AS unended) AS waiting, {_STORED_BYTES} AS stored_bytes,
        (SELECT coalesce(max(total), 0) FROM ({_DAY}) AS each) AS day_seconds
    FROM ({_ASKED}) AS asked
""")
SET_OWN = text(f"""
    INSERT INTO account_quotas (user_id, {", ".join(_COLUMNS)})
    VALUES (:user_id, {", ".join(f":{column}" for column in _COLUMNS)})
    ON CONFLICT (user_id) DO UPDATE SET {", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)}
""")
REMOVE_OWN = text("DELETE FROM account_quotas WHERE user_id = :user_id")

FORGET_PLANNED = text("DELETE FROM planned_durations WHERE planned_at <= clock_timestamp() - interval '24 hours'")


def check(quotas: Quotas, usage: Usage, *, files: int, size: int) -> None:
    """Checks whether an account with this usage may have `files` more extractions and `size` more bytes.

    Raises CatalogueError `too_many_waiting`, `quota_exceeded` or `minutes_exceeded`.
    """
    if quotas.waiting is not None and usage.waiting + files > quotas.waiting:
        detail = f"{usage.waiting} of your extractions wait or run; {quotas.waiting} may."
        raise CatalogueError("too_many_waiting", detail, retry_after=WAITING_RETRY_SECONDS)
    if quotas.stored_bytes is not None and usage.stored_bytes + size > quotas.stored_bytes:
        detail = f"You have {usage.stored_bytes:,} of {quotas.stored_bytes:,} bytes in use; this needs {size:,} more."
        raise CatalogueError("quota_exceeded", detail, retry_after=STORED_RETRY_SECONDS)
    if files and quotas.minutes_per_day is not None:
        _check_minutes(quotas.minutes_per_day, usage, files)


def _check_minutes(minutes: int, usage: Usage, files: int) -> None:
    """An account may begin an extraction while it is below its minutes, however long the video is.

    An extraction that was accepted is always carried out. So the number of videos whose duration is unknown is bounded.
    """
    if usage.day_seconds >= 60 * minutes:
        counted = usage.day_seconds / 60
        detail = f"{counted:,.1f} minutes of video were extracted for you in 24 hours, or wait; {minutes:,} may be."
        raise CatalogueError("minutes_exceeded", detail, retry_after=math.ceil(usage.over_seconds))
    unknown = usage.unknown_durations + files - 1
    if usage.day_seconds + UNKNOWN_DURATION_SECONDS * unknown >= 60 * minutes:
        detail = (
            f"{unknown:,} of your videos wait until their duration is known. Until then each counts as a minute; "
            f"{minutes:,} minutes a day may be."
        )
        raise CatalogueError("too_many_waiting", detail, retry_after=WAITING_RETRY_SECONDS)


async def precheck(database: AsyncEngine, user_id: UUID, common: Quotas, *, files: int, size: int) -> None:
    """Checks the committed usage, before anything is stored. common: quotas of accounts without quotas of their own.

    Raises as `check`.
    """
    async with database.connect() as connection:
        allowance = (await _allowances(connection, [user_id], common))[user_id]
    allowance.check(files=files, size=size)


async def lock_allowances(
    connection: AsyncConnection, user_ids: Collection[UUID], common: Quotas
) -> dict[UUID, Allowance]:
    """Returns the allowances of accounts; no other transaction can add to their usage until the caller's ends.

    Must be the first statement of the transaction. Then `check` decides what may be added. common: as for `precheck`.
    """
    in_order = sorted(user_ids)
    # A separate statement: the counts must see what the last holders of the locks have committed.
    await connection.execute(LOCK, {"user_ids": in_order})
    return await _allowances(connection, in_order, common)


async def account_limits(
    database: AsyncEngine, user_ids: Collection[UUID], common: Quotas
) -> dict[UUID, AccountLimits]:
    """Returns the quotas and the full usage of accounts. common: as for `precheck`."""
    async with database.connect() as connection:
        rows = (await connection.execute(ACCOUNT_USAGE, asdict(common) | {"user_ids": list(user_ids)})).all()
    return {
        row.user_id: AccountLimits(
            _quotas_of(row),
            row.is_own,
            AccountUsage(row.videos, row.waiting, int(row.stored_bytes), round(float(row.day_seconds) / 60, 2)),
        )
        for row in rows
    }


async def set_own(connection: AsyncConnection, user_id: UUID, own: Quotas | None) -> None:
    """Gives an account quotas of its own from its next request on; None: those of the service. The caller commits."""
    if own is None:
        await connection.execute(REMOVE_OWN, {"user_id": user_id})
    else:
        await connection.execute(SET_OWN, asdict(own) | {"user_id": user_id})


async def forget_planned(database: AsyncEngine) -> int:
    """Deletes durations that no quota counts any more; returns how many."""
    async with database.begin() as connection:
        return (await connection.execute(FORGET_PLANNED)).rowcount


async def _allowances(connection: AsyncConnection, user_ids: Sequence[UUID], common: Quotas) -> dict[UUID, Allowance]:
    rows = await connection.execute(USAGE, asdict(common) | {"user_ids": list(user_ids)})
    return {row.user_id: Allowance(_quotas_of(row), _usage_of(row)) for row in rows}


def _usage_of(row: Row[Any]) -> Usage:
    day_seconds, over_seconds = float(row.day_seconds), float(row.over_seconds)
    return Usage(row.waiting, int(row.stored_bytes), day_seconds, over_seconds, row.unknown_durations)


def _quotas_of(row: Row[Any]) -> Quotas:
    return Quotas(row.waiting_quota, row.bytes_quota, row.minutes_quota)

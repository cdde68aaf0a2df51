"""Quotas of accounts and the depth of the queue, counted in Postgres, never in the cache.

A quota is checked twice: before a body is read, so that no client sends what will be refused; and in the accepting
transaction under a lock of the account, so that concurrent requests can't exceed it together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.values.error_catalogue import CatalogueError
from db.values.lifecycle import TaskState

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
class AccountUsage:
    """The full usage of an account, as its owner sees it."""

    videos: int
    waiting: int
    stored_bytes: int
    minutes_per_day: float


# Released at the end of the transaction. They can't be part of a deadlock: no other code takes these locks, and each
# transaction takes them first and in one order.
LOCK = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('quota:' || CAST(user_id AS text), 0))
    FROM unnest(CAST(:user_ids AS uuid[])) AS asked (user_id)
""")

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
    SELECT asked.user_id, (
            SELECT count(*) FROM (SELECT FROM {_UNENDED} AS unended LIMIT :max_waiting) AS waiting
        ) AS waiting,
        CASE WHEN :count_stored THEN {_STORED_BYTES} ELSE 0 END AS stored_bytes,
        (
            SELECT count(*) FROM (SELECT FROM {_UNKNOWN_DURATIONS} AS each LIMIT :max_unknown) AS unknown
        ) AS unknown_durations,
        day.day_seconds, day.over_seconds
    FROM unnest(CAST(:user_ids AS uuid[])) AS asked (user_id) CROSS JOIN LATERAL (
        SELECT coalesce(max(total), 0) AS day_seconds, coalesce(extract(epoch FROM interval '24 hours'
            + min(planned_at) FILTER (WHERE total - passed < :max_seconds) - clock_timestamp()), 0) AS over_seconds
        FROM ({_DAY}) AS each WHERE :count_day
    ) AS day
""")
ACCOUNT_USAGE = text(f"""
    SELECT (SELECT count(*) FROM videos WHERE videos.user_id = asked.user_id) AS videos,
        (SELECT count(*) FROM {_UNENDED} AS unended) AS waiting, {_STORED_BYTES} AS stored_bytes,
        (SELECT coalesce(max(total), 0) FROM ({_DAY}) AS each) AS day_seconds
    FROM (SELECT CAST(:user_id AS uuid) AS user_id) AS asked
""")

FORGET_PLANNED = text("DELETE FROM planned_durations WHERE planned_at <= clock_timestamp() - interval '24 hours'")

# One branch per state, each a literal and in the order of its partial index. In any other order PostgreSQL would scan a
# table whose older rows have all ended from its beginning.
_ORDER = "priority DESC, virtual_finish, id"
_BRANCHES = " UNION ALL ".join(
    f"(SELECT FROM tasks WHERE state = '{state.value}' ORDER BY {_ORDER} LIMIT :max_count)"
    for state in TaskState
    if state.value in {"ready", "throttled"}
)
QUEUE_DEPTH = text(f"SELECT count(*) FROM (SELECT FROM ({_BRANCHES}) AS each LIMIT :max_count) AS waiting")


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


async def precheck(database: AsyncEngine, user_id: UUID, quotas: Quotas, *, files: int, size: int) -> None:
    """Checks the committed usage, before anything is stored. Raises as `check`."""
    if quotas == UNLIMITED:
        return
    async with database.connect() as connection:
        check(quotas, (await _usages(connection, [user_id], quotas))[user_id], files=files, size=size)


async def lock_usage(connection: AsyncConnection, user_ids: Collection[UUID], quotas: Quotas) -> dict[UUID, Usage]:
    """Returns the usage of accounts; no other transaction can add to it until the caller's ends.

    Must be the first statement of the transaction. Then `check` decides what may be added.
    """
    if quotas == UNLIMITED:
        return dict.fromkeys(user_ids, Usage(0, 0))
    in_order = sorted(user_ids)
    # A separate statement: the counts must see what the last holders of the locks have committed.
    await connection.execute(LOCK, {"user_ids": in_order})
    return await _usages(connection, in_order, quotas)


async def account_usage(database: AsyncEngine, user_id: UUID) -> AccountUsage:
    async with database.connect() as connection:
        row = (await connection.execute(ACCOUNT_USAGE, {"user_id": user_id})).one()
    return AccountUsage(row.videos, row.waiting, int(row.stored_bytes), round(float(row.day_seconds) / 60, 2))


async def forget_planned(database: AsyncEngine) -> int:
    """Deletes durations that no quota counts any more; returns how many."""
    async with database.begin() as connection:
        return (await connection.execute(FORGET_PLANNED)).rowcount


async def queue_depth(database: AsyncEngine, max_count: int) -> int:
    """Returns how many tasks wait for a worker, counted up to `max_count`."""
    async with database.connect() as connection:
        return int((await connection.execute(QUEUE_DEPTH, {"max_count": max_count})).scalar_one())


async def _usages(connection: AsyncConnection, user_ids: Sequence[UUID], quotas: Quotas) -> dict[UUID, Usage]:
    values = {
        "user_ids": list(user_ids),
        "max_waiting": quotas.waiting or 0,
        "count_stored": quotas.stored_bytes is not None,
        "count_day": quotas.minutes_per_day is not None,
        "max_seconds": 60 * (quotas.minutes_per_day or 0),
        "max_unknown": quotas.minutes_per_day or 0,
    }
    return {
        row.user_id: Usage(
            row.waiting,
            int(row.stored_bytes),
            float(row.day_seconds),
            float(row.over_seconds),
            row.unknown_durations,
        )
        for row in await connection.execute(USAGE, values)
    }

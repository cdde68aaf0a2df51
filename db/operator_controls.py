"""What operators have set while the service runs. It stands in PostgreSQL, so that it outlives every process.

A pause of accepting is seen by the API within a second; a pause of claiming holds for the next claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.connection import NAME_PREFIX
from db.values.lifecycle import PausableActivity
from db.values.worker_kind import WorkerKind


@dataclass(frozen=True, slots=True)
class Pauses:
    """Since when an activity is paused; None while it is not."""

    accepting_paused_at: datetime | None
    claiming_paused_at: datetime | None

    @property
    def activities(self) -> list[PausableActivity]:
        """What is paused."""
        return [activity for activity in PausableActivity if self.since(activity) is not None]

    def since(self, activity: PausableActivity) -> datetime | None:
        accepting = activity is PausableActivity.ACCEPTING
        return self.accepting_paused_at if accepting else self.claiming_paused_at


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How many workers of a kind there may be. None: the bound of the deployment holds."""

    min_workers: int | None = None
    max_workers: int | None = None


@dataclass(frozen=True, slots=True)
class ScalingOrders:
    """What autoscaling has to keep to. is_paused: claiming is."""

    is_paused: bool
    limits: WorkerLimits


READ_PAUSES = text("SELECT accepting_paused_at, claiming_paused_at FROM operator_controls")
# Since when it is paused does not change when it is paused again.
SET_PAUSED = {
    activity: text(f"""
        UPDATE operator_controls
        SET {activity}_paused_at = CASE WHEN :is_paused THEN coalesce({activity}_paused_at, clock_timestamp()) END
        RETURNING accepting_paused_at, claiming_paused_at
    """)
    for activity in PausableActivity
}

SCALING_ORDERS = text("""
    SELECT claiming_paused_at IS NOT NULL AS is_paused, min_workers, max_workers
    FROM operator_controls LEFT JOIN worker_limits ON kind = :kind
""")
# A bound that is not given stays as it is.
SET_LIMITS = text("""
    INSERT INTO worker_limits (kind, min_workers, max_workers) VALUES (:kind, :min_workers, :max_workers)
    ON CONFLICT (kind) DO UPDATE SET min_workers = coalesce(excluded.min_workers, worker_limits.min_workers),
        max_workers = coalesce(excluded.max_workers, worker_limits.max_workers)
""")
RESET_LIMITS = text("DELETE FROM worker_limits WHERE kind = :kind")
# Only ever later: two backups hold it together.
HOLD_DELETION = text("""
    UPDATE operator_controls SET deletion_held_until =
        greatest(deletion_held_until, clock_timestamp() + make_interval(secs => :seconds))
""")
# PostgreSQL knows who is connected: each policy has one connection of this name.
IS_SCALED = text("""
    SELECT EXISTS (
        SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = :connection_name
    )
""")


async def pauses(database: AsyncEngine) -> Pauses:
    """Returns what is paused."""
    async with database.connect() as connection:
        row = (await connection.execute(READ_PAUSES)).one()
    return Pauses(row.accepting_paused_at, row.claiming_paused_at)


async def set_paused(database: AsyncEngine, activity: PausableActivity, *, is_paused: bool) -> Pauses:
    """Pauses an activity, or resumes it. Returns what is paused then."""
    async with database.begin() as connection:
        row = (await connection.execute(SET_PAUSED[activity], {"is_paused": is_paused})).one()
    return Pauses(row.accepting_paused_at, row.claiming_paused_at)


async def scaling_orders(database: AsyncEngine, kind: WorkerKind) -> ScalingOrders:
    """Returns what the autoscaling of the workers of this kind has to keep to."""
    async with database.connect() as connection:
        row = (await connection.execute(SCALING_ORDERS, {"kind": kind.value})).one()
    return ScalingOrders(row.is_paused, WorkerLimits(row.min_workers, row.max_workers))


async def set_limits(database: AsyncEngine, kind: WorkerKind, limits: WorkerLimits) -> None:
    """Sets the bounds that are given. Raises ValueError when the lower one would be above the upper one."""
    values = {"kind": kind.value, "min_workers": limits.min_workers, "max_workers": limits.max_workers}
    try:
        async with database.begin() as connection:
            await connection.execute(SET_LIMITS, values)
    except IntegrityError as error:
        raise ValueError("the least number of workers would be above the greatest") from error


async def reset_limits(database: AsyncEngine, kind: WorkerKind) -> None:
    """Lets the bounds of the deployment hold again."""
    async with database.begin() as connection:
        await connection.execute(RESET_LIMITS, {"kind": kind.value})


async def is_scaled(database: AsyncEngine, kind: WorkerKind) -> bool:
    """Returns whether an autoscaling policy reads the queue for workers of this kind at present."""
    async with database.connect() as connection:
        values = {"connection_name": NAME_PREFIX + scaling_name(kind)}
        return bool((await connection.execute(IS_SCALED, values)).scalar())


def scaling_name(kind: WorkerKind) -> str:
    """The name for the database connections of the autoscaling of workers of this kind."""
    return f"scaling {kind}"


async def hold_deletion(database: AsyncEngine, seconds: float) -> None:
    """Lets no object be deleted for so long."""
    async with database.begin() as connection:
        await connection.execute(HOLD_DELETION, {"seconds": seconds})

"""The state of the queue as admission and admins see it: how much waits, what runs, what was given up, who works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.connection import NAME_PREFIX
from db.values.lifecycle import TaskState
from db.values.worker_kind import WorkerKind

GIVEN_UP_DAYS = 7
"""For how long a given-up extraction is shown."""
MAX_GIVEN_UP = 50
"""The most given-up extractions that are listed; the count has all of them."""
RECENT_EVENTS = 10_000
"""Among so many events, the latest ones, the last claim of each worker is searched."""
SEEN_SECONDS = 60
"""A worker without a task is known for so long after its last call. An idle one asks for a task every second."""
_CONNECTION_NAME = "worker "
_NAME_CHARACTERS = 63 - len(NAME_PREFIX + _CONNECTION_NAME)
"""PostgreSQL keeps 63 bytes of the name of a connection."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An extraction that failed because each try crashed, was lost, or met an outage. email: of its account."""

    extraction_id: UUID
    user_id: UUID
    email: str | None
    code: str
    detail: str
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """Numbers of tasks. delayed: of the ready ones, those whose next try is in the future. lost: leases that have
    expired and are not rescued yet. oldest_seconds: how long the oldest waiting task has waited; None when none waits.
    given_up: the latest ones; given_up_count: all of the last GIVEN_UP_DAYS.
    """

    throttled: int
    ready: int
    delayed: int
    running: int
    lost: int
    oldest_seconds: float | None
    given_up_count: int
    given_up: Sequence[GivenUp]


@dataclass(frozen=True, slots=True)
class WaitingKind:
    """The tasks of one kind that have not ended. oldest_seconds: how long the oldest waiting one has waited; None when
    none waits.
    """

    kind: str
    throttled: int
    ready: int
    running: int
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True)
class HeldTask:
    """A task that a worker has leased."""

    task_id: UUID
    kind: str
    extraction_id: UUID
    user_id: UUID
    attempt: int
    frames_done: int
    lease_expires_at: datetime


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker that holds a lease, or called the database in the last SEEN_SECONDS. kind: as what it works. gpu: in the
    GPU pool, its GPU or what is missing; otherwise None. is_lost: all its leases have expired. last_claimed_at: None
    when it was not in the last hour.
    """

    name: str
    kind: WorkerKind
    gpu: str | None
    last_claimed_at: datetime | None
    is_lost: bool
    tasks: Sequence[HeldTask]


# One branch per state, each a literal and in the order of its partial index. In any other order PostgreSQL would scan a
# table whose older rows have all ended from its beginning.
_ORDER = "priority DESC, virtual_finish, id"
_BRANCHES = " UNION ALL ".join(
    f"(SELECT FROM tasks WHERE state = '{state.value}' ORDER BY {_ORDER} LIMIT :max_count)"
    for state in TaskState
    if state.value in {"ready", "throttled"}
)
QUEUE_DEPTH = text(f"SELECT count(*) FROM (SELECT FROM ({_BRANCHES}) AS each LIMIT :max_count) AS waiting")

# Each state is a literal: its partial index has the rows, and a table whose older rows have all ended is not scanned.
STATUS = text("""
    SELECT throttled.count AS throttled, ready.count AS ready, ready.delayed, leased.running, leased.lost,
        extract(epoch FROM clock_timestamp() - least(throttled.oldest, ready.oldest)) AS oldest_seconds
    FROM (
        SELECT count(*) AS count, min(created_at) AS oldest FROM tasks WHERE state = 'throttled'
    ) AS throttled, (
        SELECT count(*) AS count, min(created_at) AS oldest,
            count(*) FILTER (WHERE ready_at > clock_timestamp()) AS delayed
        FROM tasks WHERE state = 'ready'
    ) AS ready, (
        SELECT count(*) FILTER (WHERE lease_expires_at >= clock_timestamp()) AS running,
            count(*) FILTER (WHERE lease_expires_at < clock_timestamp()) AS lost
        FROM tasks WHERE state = 'leased'
    ) AS leased
""")
_BY_KIND = " UNION ALL ".join(
    f"SELECT kind, state, created_at FROM tasks WHERE state = '{state}'" for state in ("throttled", "ready", "leased")
)
WAITING_BY_KIND = text(f"""
    SELECT kind, count(*) FILTER (WHERE state = 'throttled') AS throttled,
        count(*) FILTER (WHERE state = 'ready') AS ready, count(*) FILTER (WHERE state = 'leased') AS running,
        extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE state <> 'leased')) AS oldest_seconds
    FROM ({_BY_KIND}) AS unended GROUP BY kind ORDER BY kind
""")
# The codes are those of the index.
GIVEN_UP = text("""
    SELECT extractions.id AS extraction_id, user_id, email, error_code AS code, error_detail AS detail,
        finished_at AS failed_at, count(*) OVER () AS total
    FROM extractions JOIN users ON users.id = extractions.user_id
    WHERE error_code IN ('gave_up', 'workers_lost', 'service_failed')
      AND finished_at > clock_timestamp() - make_interval(days => :days)
    ORDER BY finished_at DESC, extractions.id DESC LIMIT :limit
""")
# PostgreSQL itself knows who is connected, so that an idle worker writes nothing. A connection whose machine vanished
# stays open for hours, but does nothing more.
WORKERS = text(f"""
    WITH recent AS (
        SELECT data ->> 'worker' AS worker, max(at) AS last_claimed_at
        FROM (SELECT kind, data, at FROM events ORDER BY id DESC LIMIT :events) AS latest
        WHERE kind = 'claimed' AND at > clock_timestamp() - interval '1 hour' GROUP BY data ->> 'worker'
    ), held AS (
        SELECT leased_by, id AS task_id, kind, extraction_id, user_id, attempt, frames_done, lease_expires_at,
            lease_expires_at < clock_timestamp() AS is_late
        FROM tasks WHERE state = 'leased'
    ), connected AS (
        SELECT DISTINCT substr(application_name, length(:prefix) + 1) AS ending FROM pg_stat_activity
        WHERE datname = current_database() AND starts_with(application_name, :prefix)
          AND state_change > clock_timestamp() - make_interval(secs => :seen_seconds)
    ), known AS (
        SELECT leased_by AS name FROM held
        UNION
        SELECT coalesce(leased_by, worker, ending) FROM connected
        LEFT JOIN recent ON right(worker, {_NAME_CHARACTERS}) = ending
        LEFT JOIN held ON right(leased_by, {_NAME_CHARACTERS}) = ending
    )
    SELECT known.name, last_claimed_at, coalesce(can_decode, false) AS is_gpu_worker, gpu_workers.about AS gpu, held.*
    FROM known LEFT JOIN recent ON worker = known.name LEFT JOIN held ON leased_by = known.name
    LEFT JOIN gpu_workers ON right(gpu_workers.name, {_NAME_CHARACTERS}) = right(known.name, {_NAME_CHARACTERS})
    ORDER BY known.name, task_id
""")


def connection_name_of(worker: str) -> str:
    """Returns the name for the database connections of a worker: the end of its own name, which tells it apart."""
    return f"{_CONNECTION_NAME}{worker[-_NAME_CHARACTERS:]}"


async def queue_depth(database: AsyncEngine, max_count: int) -> int:
    """Returns how many tasks wait for a worker, counted up to `max_count`."""
    async with database.connect() as connection:
        return int((await connection.execute(QUEUE_DEPTH, {"max_count": max_count})).scalar_one())


async def status(database: AsyncEngine) -> QueueStatus:
    async with database.connect() as connection:
        row = (await connection.execute(STATUS)).one()
        values = {"days": GIVEN_UP_DAYS, "limit": MAX_GIVEN_UP}
        ended = (await connection.execute(GIVEN_UP, values)).all()
    return QueueStatus(
        throttled=row.throttled,
        ready=row.ready,
        delayed=row.delayed,
        running=row.running,
        lost=row.lost,
        oldest_seconds=None if row.oldest_seconds is None else max(0.0, float(row.oldest_seconds)),
        given_up_count=ended[0].total if ended else 0,
        given_up=[GivenUp(**{name: getattr(one, name) for name in GivenUp.__slots__}) for one in ended],
    )


async def waiting_by_kind(database: AsyncEngine) -> list[WaitingKind]:
    """Returns what waits and runs of each kind of task that has any."""
    async with database.connect() as connection:
        rows = (await connection.execute(WAITING_BY_KIND)).all()
    return [
        WaitingKind(
            row.kind,
            row.throttled,
            row.ready,
            row.running,
            None if row.oldest_seconds is None else max(0.0, float(row.oldest_seconds)),
        )
        for row in rows
    ]


async def seen_workers(database: AsyncEngine) -> list[SeenWorker]:
    """Returns the workers by name. A long name of one that claimed nothing in the last hour begins in its middle."""
    values = {"events": RECENT_EVENTS, "prefix": NAME_PREFIX + _CONNECTION_NAME, "seen_seconds": SEEN_SECONDS}
    async with database.connect() as connection:
        rows = (await connection.execute(WORKERS, values)).all()
    workers = []
    for name, of_worker in groupby(rows, key=lambda row: row.name):
        found = list(of_worker)
        held = [row for row in found if row.task_id is not None]
        tasks = [HeldTask(**{field: getattr(row, field) for field in HeldTask.__slots__}) for row in held]
        is_lost = bool(held) and all(row.is_late for row in held)
        kind = WorkerKind.GPU if found[0].is_gpu_worker else WorkerKind.CPU
        workers.append(SeenWorker(name, kind, found[0].gpu, found[0].last_claimed_at, is_lost, tasks))
    return workers

"""The queue: what is accepted is claimed, kept alive by heartbeats, and ends exactly once.

Every write of a worker carries the fence (task, attempt, owner) in its WHERE; no row
means that the lease is lost, and the worker throws its work away. The fence does not test the expiry: a lease that is
late but not rescued can still be renewed and published. Locks are taken in one order, task before extraction. All
times are the database's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db import queue_statements as sql
from db.lifecycle import Again, Blame, Counters, End, after_failure, is_careful

LEASE_SECONDS = 60.0
HEARTBEAT_SECONDS = 15.0


class LeaseLost(Exception):
    """The task was rescued, cancelled or deleted: this attempt's work counts no more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The fence. attempt: rises at each claim of the task and never falls."""

    task_id: UUID
    attempt: int
    worker: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One claimed task. spec: canonical text. careful: this is the last try before the file is given up."""

    lease: Lease
    kind: str
    extraction_id: UUID
    video_id: UUID
    object_key: str
    spec: str
    careful: bool


@dataclass(frozen=True, slots=True)
class Publication:
    """What a finished attempt points at. key: prefix of its objects. size: bytes of the archive."""

    key: str
    engine: str
    frames: int
    size: int
    sha256: str
    warnings: Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Rescued:
    """What a rescue did: tasks that wait again, and tasks that ended."""

    again: int
    ended: int


async def claim(
    engine: AsyncEngine, *, worker: str, worker_kind: str = "cpu", limit: int = 1, lease_seconds: float = LEASE_SECONDS
) -> list[Claim]:
    """Takes up to `limit` ready tasks in the queue's order; their extractions are running from now on."""
    values = {"worker": worker, "worker_kind": worker_kind, "limit": limit, "lease_seconds": lease_seconds}
    async with engine.begin() as connection:
        rows = (await connection.execute(sql.CLAIM, values)).all()
    return [_claim_of(row, worker) for row in rows]


async def heartbeat(
    engine: AsyncEngine, lease: Lease, *, frames_done: int = 0, lease_seconds: float = LEASE_SECONDS
) -> None:
    """Renews the lease and tells the progress. Raises LeaseLost."""
    await _fenced(engine, sql.HEARTBEAT, lease, frames_done=frames_done, lease_seconds=lease_seconds)


async def plan(engine: AsyncEngine, lease: Lease, *, media: Mapping[str, Any], frames_total: int) -> None:
    """Stores what the probe found and how many frames there will be. Raises LeaseLost."""
    await _fenced(engine, sql.PLAN, lease, media=json.dumps(media), frames_total=frames_total)


async def publish(engine: AsyncEngine, lease: Lease, publication: Publication) -> None:
    """Ends the extraction as succeeded. Raises LeaseLost, unless this attempt had published already."""
    try:
        await _fenced(
            engine,
            sql.PUBLISH,
            lease,
            key=publication.key,
            engine=publication.engine,
            frames=publication.frames,
            size=publication.size,
            sha256=publication.sha256,
            warnings=json.dumps([dict(warning) for warning in publication.warnings]),
        )
    except LeaseLost:
        if not await was_published(engine, lease):
            raise


async def was_published(engine: AsyncEngine, lease: Lease) -> bool:
    """Whether this very attempt ended its task as done: what a lost answer to a COMMIT leaves open."""
    async with engine.connect() as connection:
        return (await connection.execute(sql.WAS_PUBLISHED, _fence(lease))).first() is not None


async def release(engine: AsyncEngine, lease: Lease) -> None:
    """Gives the task back unharmed: drain and shutdown count against nothing. Raises LeaseLost."""
    await _fenced(engine, sql.RELEASE, lease)


async def fail(
    engine: AsyncEngine, lease: Lease, *, blame: Blame, code: str, detail: str, jitter: float
) -> Again | End:
    """Counts a failure against whom it belongs, and retries or ends the task. Raises LeaseLost."""
    async with engine.begin() as connection:
        row = (await connection.execute(sql.HELD, _fence(lease))).first()
        if row is None:
            raise LeaseLost(lease)
        return await _settle(connection, row, blame=blame, code=code, detail=detail, jitter=jitter)


async def rescue(
    engine: AsyncEngine, *, jitter: float, limit: int = 100, lease_seconds: float = LEASE_SECONDS
) -> Rescued:
    """Takes late leases away. Call it only when the database has been reachable for a whole lease."""
    outcomes = []
    async with engine.begin() as connection:
        for row in (await connection.execute(sql.EXPIRED, {"lease_seconds": lease_seconds, "limit": limit})).all():
            detail = "The worker that held the task stopped answering."
            outcomes.append(
                await _settle(connection, row, blame=Blame.LOSS, code="workers_lost", detail=detail, jitter=jitter)
            )
    ended = sum(isinstance(outcome, End) for outcome in outcomes)
    return Rescued(again=len(outcomes) - ended, ended=ended)


async def cancel(connection: AsyncConnection, extraction_id: UUID) -> bool:
    """Ends an extraction as cancelled; its worker learns of it at its next heartbeat. False when it had ended."""
    values = {"extraction_id": extraction_id}
    await connection.execute(sql.LOCK_TASKS, values)
    await connection.execute(sql.CANCEL_TASKS, values)
    return (await connection.execute(sql.CANCEL, values)).first() is not None


async def _settle(
    connection: AsyncConnection, row: Row[Any], *, blame: Blame, code: str, detail: str, jitter: float
) -> Again | End:
    counters = Counters(row.crashes, row.losses, row.service_errors, float(row.service_error_seconds))
    outcome = after_failure(blame, code, counters, jitter)
    counted = {
        "task_id": row.id,
        "crash": int(blame is Blame.CRASH),
        "loss": int(blame is Blame.LOSS),
        "service_error": int(blame is Blame.SERVICE),
        "detail": detail,
    }
    if isinstance(outcome, End):
        await connection.execute(sql.FAIL, counted | {"code": outcome.code})
    else:
        await connection.execute(sql.RETRY, counted | {"delay_seconds": outcome.delay_seconds, "blame": str(blame)})
    return outcome


async def _fenced(database: AsyncEngine, statement: Any, lease: Lease, /, **values: Any) -> None:
    async with database.begin() as connection:
        if (await connection.execute(statement, _fence(lease) | values)).first() is None:
            raise LeaseLost(lease)


def _fence(lease: Lease) -> dict[str, Any]:
    return {"task_id": lease.task_id, "attempt": lease.attempt, "worker": lease.worker}


def _claim_of(row: Row[Any], worker: str) -> Claim:
    return Claim(
        lease=Lease(row.task_id, row.attempt, worker),
        kind=row.kind,
        extraction_id=row.extraction_id,
        video_id=row.video_id,
        object_key=row.object_key,
        spec=row.spec,
        careful=is_careful(row.crashes),
    )

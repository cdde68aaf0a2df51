"""The task queue: tasks are claimed, kept alive by heartbeats, and end exactly once.

Every write of a worker has the fence (task, attempt, worker) in its WHERE. When no row matches, the lease is lost
and the worker discards its work. The fence does not test the expiry: an expired lease that was not rescued can still be
renewed, and its result published. Lock order: tasks by id, extraction, video, share of the account; rows that are
locked after these are skipped when another transaction has them. All times are the database's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from uuid_utils.compat import uuid7

from db.connection import is_contention
from db.queue import task_queue_sql as sql
from db.queue.fair_queueing import work_of
from db.values.lifecycle import LEASE_SECONDS, Blame, Counters, GiveUp, Retry, after_failure, is_sequential
from db.values.segment import Segment
from db.values.worker_kind import WorkerKind


class LeaseLost(Exception):
    """The task was rescued, cancelled or deleted: the work of this attempt must be discarded."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The fence of a claimed task. attempt: rises at each claim of the task and never falls."""

    task_id: UUID
    attempt: int
    worker: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One claimed task. spec: canonical text. sequential: whether the engine reads in sequence with one thread, because
    this is the last try before the file is given up. prefers: the kind of workers that the task was left to. crashes,
    service_errors: of the task, so far. sha256: of the accepted bytes. waited_seconds: since it was ready, or the time
    of its next try had come. request_id: of the request that was accepted. traceparent: the span that this task belongs
    to.

    segment: of kind segment. plan_key: of kinds segment and assemble, the prefix of the planning attempt's objects.
    segment_keys: of kind assemble, the prefixes of the published segments' objects, by number.
    """

    lease: Lease
    kind: str
    extraction_id: UUID
    video_id: UUID
    object_key: str
    spec: str
    sequential: bool
    prefers: WorkerKind = WorkerKind.CPU
    crashes: int = 0
    service_errors: int = 0
    sha256: str | None = None
    segment: Segment | None = None
    plan_key: str | None = None
    segment_keys: tuple[str, ...] = ()
    waited_seconds: float = 0.0
    request_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """The result of a finished attempt. key: prefix of its objects. size: bytes of the archive."""

    key: str
    engine: str
    frames: int
    size: int
    sha256: str
    warnings: Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Preview:
    """A contact sheet of the images that a running task has written so far. key: of its objects, without suffix."""

    key: str
    frames: int


@dataclass(frozen=True, slots=True)
class Rescued:
    """The outcome of a rescue: tasks that wait again, tasks that ended, and tasks that others had locked."""

    again: int
    ended: int
    locked: int


async def claim(
    database: AsyncEngine,
    *,
    worker: str,
    kind: WorkerKind = WorkerKind.CPU,
    limit: int = 1,
    lease_seconds: float = LEASE_SECONDS,
) -> list[Claim]:
    """Claims up to `limit` ready tasks in the order of the queue; their extractions become `running`.

    kind: of the worker. A GPU worker takes the tasks that prefer a GPU, and only without any of these others.
    """
    values = {"worker": worker, "limit": limit, "lease_seconds": lease_seconds}
    statements = (sql.CLAIM,) if kind is WorkerKind.CPU else (sql.CLAIM_GPU_WORK, sql.CLAIM_ANY)
    for statement in statements:
        async with database.begin() as connection:
            rows = (await connection.execute(statement, values)).all()
        if rows:
            return [_claim_of(row, worker) for row in rows]
    return []


async def heartbeat(
    database: AsyncEngine,
    lease: Lease,
    *,
    frames_done: int = 0,
    lease_seconds: float = LEASE_SECONDS,
    preview: Preview | None = None,
) -> None:
    """Renews the lease and writes the progress. preview: the newest; None keeps the one before. Raises LeaseLost."""
    values = {"frames_done": frames_done, "lease_seconds": lease_seconds}
    shown = {"preview_key": preview and preview.key, "preview_frames": preview and preview.frames}
    await _fenced(database, sql.HEARTBEAT, lease, **values, **shown)


async def plan(database: AsyncEngine, lease: Lease, *, media: Mapping[str, Any], frames_total: int) -> None:
    """Writes the media information and the number of frames. Raises LeaseLost."""
    work = work_of(media, frames_total)
    await _fenced(database, sql.PLAN, lease, media=json.dumps(media), frames_total=frames_total, work=work)


async def record_sha256(database: AsyncEngine, lease: Lease, sha256: str) -> None:
    """Writes the SHA-256 of the video's bytes, which came in chunks. Raises LeaseLost."""
    await _fenced(database, sql.RECORD_SHA256, lease, sha256=sha256)


async def split(
    database: AsyncEngine,
    lease: Lease,
    *,
    media: Mapping[str, Any],
    frames_total: int,
    plan_key: str,
    segments: Sequence[Segment],
    traceparent: str | None = None,
) -> None:
    """Ends the planning task and adds one task for each segment.

    plan_key: prefix of the objects that all segments need. traceparent: the span that the segments belong to.
    Raises LeaseLost, unless this attempt had done it already.
    """
    if not segments:
        raise ValueError("an extraction is split into at least one segment")
    values = {
        "media": json.dumps(media),
        "frames_total": frames_total,
        "plan_key": plan_key,
        "traceparent": traceparent,
        "work": work_of(media, sum(segment.cost for segment in segments)),
        "ids": [uuid7() for _ in segments],
        "numbers": [segment.number for segment in segments],
        "firsts": [segment.first for segment in segments],
        "stops": [segment.stop for segment in segments],
        "costs": [segment.cost for segment in segments],
    }
    await _ending(database, sql.SPLIT, lease, **values)


async def publish_segment(database: AsyncEngine, lease: Lease, *, key: str, frames: int) -> None:
    """Ends a segment task. The last one of an extraction adds the assemble task.

    key: prefix of its objects. Raises LeaseLost, unless this attempt had published already.
    """
    await _ending(database, sql.PUBLISH_SEGMENT, lease, key=key, frames=frames, assemble_id=uuid7())


async def publish(
    database: AsyncEngine, lease: Lease, publication: Publication, *, retention_seconds: float | None = None
) -> None:
    """Ends the extraction as succeeded. retention_seconds: how long its files are kept; None for ever.

    Raises LeaseLost, unless this attempt had published already.
    """
    await _ending(
        database,
        sql.PUBLISH,
        lease,
        key=publication.key,
        engine=publication.engine,
        frames=publication.frames,
        size=publication.size,
        sha256=publication.sha256,
        warnings=json.dumps([dict(warning) for warning in publication.warnings]),
        retention_seconds=retention_seconds,
    )


async def publish_stored_result(
    database: AsyncEngine, lease: Lease, *, engine: str, retention_seconds: float | None = None
) -> bool:
    """Ends the extraction with a result that its account has of the same bytes, specification and engine.

    False when there is none, when the SHA-256 of the bytes is not known, or when the lease is lost.
    """
    values = _fence(lease) | {"engine": engine, "retention_seconds": retention_seconds}
    async with database.begin() as connection:
        return (await connection.execute(sql.PUBLISH_STORED_RESULT, values)).first() is not None


async def was_published(database: AsyncEngine, lease: Lease) -> bool:
    """Returns whether this attempt has ended its task as done. The worker asks after the answer to a COMMIT was
    lost.
    """
    async with database.connect() as connection:
        return (await connection.execute(sql.WAS_PUBLISHED, _fence(lease))).first() is not None


async def release(database: AsyncEngine, lease: Lease) -> None:
    """Gives the task back. Drain and shutdown count against nothing. Raises LeaseLost."""
    await _fenced(database, sql.RELEASE, lease)


async def release_all(database: AsyncEngine, worker: str) -> int:
    """Gives back all tasks of a worker; returns how many. For a worker whose claim lost its answer: it knows no
    task.
    """
    async with database.begin() as connection:
        return len((await connection.execute(sql.RELEASE_ALL, {"worker": worker})).all())


async def fail(
    database: AsyncEngine, lease: Lease, *, blame: Blame, code: str, detail: str, jitter: float
) -> Retry | GiveUp:
    """Counts a failure by its blame, then retries or ends the task. Raises LeaseLost."""
    async with database.begin() as connection:
        row = await _meant(connection, sql.LOCK_FENCED, _fence(lease))
        if row is None:
            raise LeaseLost(lease)
        return await _settle(connection, row, blame=blame, code=code, detail=detail, jitter=jitter)


async def rescue(
    database: AsyncEngine, *, jitter: float, limit: int = 100, lease_seconds: float = LEASE_SECONDS
) -> Rescued:
    """Takes expired leases away, each in its own transaction. Several processes may run it at the same time.

    A task that another transaction has locked is left for the next run and delays no other. Call this only when the
    database has been reachable for a whole lease.
    """
    async with database.connect() as connection:
        expired = await connection.execute(sql.EXPIRED, {"lease_seconds": lease_seconds, "limit": limit})
        late = expired.scalars().all()
    outcomes: list[Retry | GiveUp | None] = []
    locked = 0
    for task_id in late:
        try:
            outcomes.append(await _rescue_one(database, task_id, jitter))
        except DBAPIError as error:
            if not is_contention(error):
                raise
            locked += 1
    again = sum(isinstance(outcome, Retry) for outcome in outcomes)
    return Rescued(again=again, ended=sum(isinstance(outcome, GiveUp) for outcome in outcomes), locked=locked)


async def cancel(connection: AsyncConnection, extraction_id: UUID) -> bool:
    """Ends an extraction as cancelled. Its workers learn this at their next heartbeat. False when it had ended."""
    values = {"extraction_id": extraction_id}
    await lock_all(connection, sql.LOCK_TASKS, values)
    cancelled = (await connection.execute(sql.CANCEL, values)).first() is not None
    await connection.execute(sql.CANCEL_TASKS, values)
    return cancelled


async def lock_all(connection: AsyncConnection, statement: Any, values: Mapping[str, Any]) -> None:
    """Locks the tasks that a statement returns, and those that were added while it waited for a lock."""
    known: set[UUID] | None = None
    while known != (known := set((await connection.execute(statement, values)).scalars())):
        pass


async def _rescue_one(database: AsyncEngine, task_id: UUID, jitter: float) -> Retry | GiveUp | None:
    detail = "The worker of the task stopped answering."
    async with database.begin() as connection:
        await connection.execute(sql.WAIT_BRIEFLY)
        row = await _meant(connection, sql.LOCK_EXPIRED, {"task_id": task_id})
        if row is None:
            return None
        return await _settle(connection, row, blame=Blame.LOSS, code="workers_lost", detail=detail, jitter=jitter)


async def _meant(connection: AsyncConnection, statement: Any, values: Mapping[str, Any]) -> Row[Any] | None:
    """Locks all tasks of an extraction; returns the requested one if it is still in the expected state."""
    return next((row for row in await connection.execute(statement, values) if row.is_meant), None)


async def _settle(
    connection: AsyncConnection, row: Row[Any], *, blame: Blame, code: str, detail: str, jitter: float
) -> Retry | GiveUp:
    counters = Counters(row.crashes, row.losses, row.service_errors, float(row.service_error_seconds))
    outcome = after_failure(blame, code, counters, jitter)
    counted = {
        "task_id": row.id,
        "crash": int(blame is Blame.CRASH),
        "loss": int(blame is Blame.LOSS),
        "service_error": int(blame is Blame.SERVICE),
        "detail": detail,
    }
    if isinstance(outcome, GiveUp):
        await connection.execute(sql.FAIL, counted | {"code": outcome.code})
    else:
        await connection.execute(sql.RETRY, counted | {"delay_seconds": outcome.delay_seconds, "blame": str(blame)})
    return outcome


async def _ending(database: AsyncEngine, statement: Any, lease: Lease, /, **values: Any) -> None:
    """Wraps a fenced write that ends a task: a task that this attempt has already ended counts as a success."""
    try:
        await _fenced(database, statement, lease, **values)
    except LeaseLost:
        if not await was_published(database, lease):
            raise


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
        sequential=is_sequential(row.crashes),
        prefers=WorkerKind(row.prefers),
        crashes=row.crashes,
        service_errors=row.service_errors,
        sha256=row.sha256,
        segment=None
        if row.segment_number is None
        else Segment(row.segment_number, row.segment_first, row.segment_stop, row.cost),
        plan_key=None if row.kind == "extract" else row.plan_key,
        segment_keys=tuple(row.segment_keys or ()),
        waited_seconds=float(row.waited_seconds),
        request_id=row.request_id,
        traceparent=row.traceparent,
    )

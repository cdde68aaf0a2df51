"""Runs one claimed task: fetch, decode in the child, store, publish, with heartbeats in the meantime.

Every possible end is a value. An outage of the database ends no task: important writes are repeated until they
succeed or the lease is lost.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, assert_never

import structlog

from actors.extraction_types import (
    EngineMismatch,
    Extracted,
    Planned,
    Progress,
    ProgressEvent,
    SegmentExtracted,
    Split,
    engine_name,
)
from actors.sandbox.child_process import ChildCrashed, ChildOutcome, DecodingChild, ServiceErrorReport
from actors.sandbox.child_protocol import Refused
from actors.worker.stage_video import DeclaredChecksumError
from actors.worker.task_files import (
    SegmentStored,
    SplitStored,
    StoredOutcome,
    delete_objects,
    fetch_job,
    reader_of,
    store_outcome,
)
from actors.worker.task_previews import TaskPreviews
from actors.worker.task_spans import DecodePhases, decode_span
from actors.worker.worker_deps import WorkerDeps
from db.connection import is_outage, retry_until_available
from db.object_store.object_store import ObjectNotFound
from db.queue import task_queue
from db.queue.replan import replan
from db.queue.task_queue import Claim, LeaseLost, Publication
from db.tracing_api import child_span, current_origin, mark_failed
from db.values.error_catalogue import CATALOGUE, CatalogueError
from db.values.lifecycle import Blame, Retry, blame_of, blame_of_child_report

PROGRESS_SECONDS = 1.0
"""The shortest time between two writes of progress; they are heartbeats too."""
RELEASE_SECONDS = 10.0
"""When a task can't be released for this long, it is left to be rescued."""
log = structlog.get_logger()
T = TypeVar("T")


class StoredResultPublished:
    """The task has ended with a result that was there already."""


class TaskOutcome(StrEnum):
    PUBLISHED = "published"
    SPLIT = "split"
    RETRIED = "retried"
    FAILED = "failed"
    LOST = "lost"
    RELEASED = "released"


@dataclass(slots=True)
class RunningTask:
    """The task that a worker runs. beat: called at every sign of life. settling: set before the write that ends the
    task; nothing interrupts that write.
    """

    claim: Claim
    previews: TaskPreviews
    beat: Callable[[], None]
    frames_done: int = 0
    settling: asyncio.Event = field(default_factory=asyncio.Event)


async def perform(
    claim: Claim, child: DecodingChild, deps: WorkerDeps, release: asyncio.Event, beat: Callable[[], None]
) -> TaskOutcome:
    """Runs a claimed task. release: set when the task has to be given back. beat: called at every sign of life."""
    running = RunningTask(claim, TaskPreviews(claim, deps.objects), beat)
    work = asyncio.create_task(_run_to_outcome(running, child, deps))
    hearts = asyncio.create_task(_keep_alive(running, deps))
    drained = asyncio.create_task(release.wait())
    try:
        await asyncio.wait({work, hearts, drained}, return_when=asyncio.FIRST_COMPLETED)
        if work.done() or running.settling.is_set():
            return await work
        await _cancel_all(work)
        if hearts.done():
            await hearts
        return await _release(running, deps)
    except LeaseLost:
        return await _discard(running, deps)
    finally:
        await _cancel_all(work, hearts, drained)
        await child.kill()


async def _run_to_outcome(running: RunningTask, child: DecodingChild, deps: WorkerDeps) -> TaskOutcome:
    try:
        outcome = await _run_child(running, child, deps)
    except (CatalogueError, ObjectNotFound, OSError) as error:
        running.settling.set()
        return await _settle(running, deps, _service_error(error))
    running.settling.set()
    return await _settle(running, deps, outcome)


async def _run_child(
    running: RunningTask, child: DecodingChild, deps: WorkerDeps
) -> StoredOutcome | ChildOutcome | StoredResultPublished:
    claim = running.claim
    if await _publish_stored_result(running, deps):
        return StoredResultPublished()
    async with _scratch(deps.scratch, claim) as folder:
        try:
            with child_span(deps.tracer, "stage"):
                job = await fetch_job(claim, deps, folder)
        except DeclaredChecksumError as error:
            return Refused("checksum_mismatch", str(error))
        # The SHA-256 of an upload by tus is known from now on.
        if claim.sha256 is None and await _publish_stored_result(running, deps):
            return StoredResultPublished()
        started = time.perf_counter()
        with decode_span(claim, deps) as phases:
            async with running.previews.taken_from(job.out):
                outcome = await child.run_job(job, partial(_report_progress, running, deps, phases))
        deps.metrics.decoded(claim.kind, time.perf_counter() - started, _frames_made(claim, outcome))
        with child_span(deps.tracer, "store"):
            return await store_outcome(claim, deps, job, outcome)


def _frames_made(claim: Claim, outcome: ChildOutcome) -> int:
    """The images of an assemble task were made, and counted, by the segments."""
    if claim.kind == "assemble" or not isinstance(outcome, Extracted | SegmentExtracted):
        return 0
    return outcome.frames


async def _publish_stored_result(running: RunningTask, deps: WorkerDeps) -> bool:
    """Ends the task with a result that the account has already, if there is one."""
    claim = running.claim
    if claim.kind != "extract":
        return False
    engine, retention_seconds = engine_name(reader_of(claim, deps)), deps.result_retention_seconds
    return await _write_until_available(
        running,
        deps,
        lambda: task_queue.publish_stored_result(
            deps.database, claim.lease, engine=engine, retention_seconds=retention_seconds
        ),
    )


async def _report_progress(running: RunningTask, deps: WorkerDeps, phases: DecodePhases, event: ProgressEvent) -> None:
    """Writes the plan of an extract task; counts the images of an extract or segment task as progress."""
    claim = running.claim
    phases.note(event)
    if isinstance(event, Planned) and claim.plan_key is None:
        media, total = event.media.document(), event.frames_total
        await _write_until_available(
            running, deps, lambda: task_queue.plan(deps.database, claim.lease, media=media, frames_total=total)
        )
    elif isinstance(event, Progress) and (claim.plan_key is None or claim.segment is not None):
        running.frames_done = event.frames_done
        running.previews.announce(event.preview_frames)


async def _settle(
    running: RunningTask,
    deps: WorkerDeps,
    outcome: StoredOutcome | ChildOutcome | StoredResultPublished | CatalogueError,
) -> TaskOutcome:
    claim = running.claim
    match outcome:
        case StoredResultPublished():
            return TaskOutcome.PUBLISHED
        case Publication() | SplitStored() | SegmentStored():
            # The segments belong to the span of the task, not to that of this write.
            traceparent = current_origin().traceparent
            with child_span(deps.tracer, "publish"):
                await _write_until_available(running, deps, lambda: _publish(claim, deps, outcome, traceparent))
            return TaskOutcome.SPLIT if isinstance(outcome, SplitStored) else TaskOutcome.PUBLISHED
        case Refused(code, detail):
            return await _fail(running, deps, blame_of(CATALOGUE[code].fault), code, detail)
        case ChildCrashed(detail, native_log):
            deps.metrics.child_crashed()
            log.warning("The decoder crashed.", event_name="child.crashed", log=native_log)
            return await _fail(running, deps, Blame.CRASH, "gave_up", detail)
        case EngineMismatch(engine):
            return await _replan(running, deps, engine)
        case ServiceErrorReport():
            blame = blame_of_child_report(claim.service_errors)
            code = "gave_up" if blame is Blame.CRASH else outcome.code
            return await _fail(running, deps, blame, code, outcome.detail)
        case CatalogueError():
            return await _fail(running, deps, Blame.SERVICE, outcome.code, outcome.detail)
        case Extracted() | Split() | SegmentExtracted():
            raise AssertionError(outcome)
        case _:
            assert_never(outcome)


async def _publish(claim: Claim, deps: WorkerDeps, stored: StoredOutcome, traceparent: str | None) -> None:
    """Ends the task as done. traceparent: the span that segments belong to. Raises LeaseLost."""
    database, lease = deps.database, claim.lease
    match stored:
        case Publication():
            await task_queue.publish(database, lease, stored, retention_seconds=deps.result_retention_seconds)
        case SegmentStored(key, frames):
            await task_queue.publish_segment(database, lease, key=key, frames=frames)
        case SplitStored(media, total, plan_key, segments):
            await task_queue.split(
                database,
                lease,
                media=media,
                frames_total=total,
                plan_key=plan_key,
                segments=segments,
                traceparent=traceparent,
            )
        case _:
            assert_never(stored)


def _service_error(error: CatalogueError | ObjectNotFound | OSError) -> CatalogueError:
    """Returns a service error: what fails in the worker itself is never the file's fault."""
    if isinstance(error, CatalogueError):
        return error
    if isinstance(error, ObjectNotFound):
        return CatalogueError("unavailable", "The object store does not have the video at this moment.")
    log.warning("The worker's own disk failed.", event_name="disk.failed", error=str(error))
    return CatalogueError("storage_full" if error.errno == errno.ENOSPC else "unavailable")


async def _fail(running: RunningTask, deps: WorkerDeps, blame: Blame, code: str, detail: str) -> TaskOutcome:
    mark_failed(code)
    database, lease = deps.database, running.claim.lease
    outcome = await _write_until_available(
        running,
        deps,
        lambda: task_queue.fail(database, lease, blame=blame, code=code, detail=detail, jitter=deps.jitter()),
    )
    return TaskOutcome.RETRIED if isinstance(outcome, Retry) else TaskOutcome.FAILED


async def _replan(running: RunningTask, deps: WorkerDeps, plan_engine: str) -> TaskOutcome:
    database, lease = deps.database, running.claim.lease
    log.warning(
        "Another engine made the plan; the extraction is planned again.",
        event_name="task.replanned",
        plan_engine=plan_engine,
    )
    outcome = await _write_until_available(
        running, deps, lambda: replan(database, lease, plan_engine=plan_engine, jitter=deps.jitter())
    )
    return TaskOutcome.RETRIED if isinstance(outcome, Retry) else TaskOutcome.FAILED


async def _keep_alive(running: RunningTask, deps: WorkerDeps) -> None:
    """Sends heartbeats, the first one at once, and stops when the end is written. Raises LeaseLost."""
    while True:
        preview = running.previews.stored
        try:
            await task_queue.heartbeat(
                deps.database,
                running.claim.lease,
                frames_done=running.frames_done,
                lease_seconds=deps.lease_seconds,
                preview=preview,
            )
            running.previews.tell(preview)
        except Exception as error:
            # An expired lease can still be renewed, so an outage is waited out.
            if not is_outage(error):
                raise
            log.warning("The heartbeat did not reach the database.", event_name="heartbeat.missed")
        running.beat()
        await _until_next_beat(running, deps.heartbeat_seconds)


async def _until_next_beat(running: RunningTask, seconds: float) -> None:
    """Waits until the next heartbeat is due or there is something new to tell; for ever once the task is settling."""
    told, waited, step = (running.frames_done, running.previews.stored), 0.0, min(PROGRESS_SECONDS, seconds)
    while waited < seconds and ((running.frames_done, running.previews.stored) == told or waited < PROGRESS_SECONDS):
        await asyncio.sleep(step)
        waited += step
        if running.settling.is_set():
            await asyncio.Event().wait()


async def _release(running: RunningTask, deps: WorkerDeps) -> TaskOutcome:
    """Releases the task. During an outage of the database it tries for RELEASE_SECONDS only. Raises LeaseLost."""
    with suppress(TimeoutError):
        async with asyncio.timeout(RELEASE_SECONDS):
            await _write_until_available(running, deps, lambda: task_queue.release(deps.database, running.claim.lease))
    return TaskOutcome.RELEASED


async def _discard(running: RunningTask, deps: WorkerDeps) -> TaskOutcome:
    """Deletes the objects of a lost attempt, unless it was published."""
    if await _write_until_available(
        running, deps, lambda: task_queue.was_published(deps.database, running.claim.lease)
    ):
        return TaskOutcome.PUBLISHED
    await delete_objects(running.claim, deps)
    await running.previews.delete()
    return TaskOutcome.LOST


async def _write_until_available(running: RunningTask, deps: WorkerDeps, write: Callable[[], Awaitable[T]]) -> T:
    """Repeats a write at the period of the heartbeats until the database is available.

    Each try counts as a sign of life, because no heartbeat is sent meanwhile.
    """
    return await retry_until_available(write, max_seconds=deps.heartbeat_seconds, beat=running.beat)


async def _cancel_all(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _scratch(root: Path, claim: Claim) -> AsyncIterator[Path]:
    folder = root / f"{claim.lease.task_id}-{claim.lease.attempt}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

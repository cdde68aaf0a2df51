"""One claim from start to end: fetch, decode in the child, store, publish, with heartbeats all the while.

Every way that it can end is a value. An outage of the database never ends it: writes that must not be lost are repeated
until they are in or the lease is lost.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, assert_never

import structlog

from actors.extraction_types import Extracted, OtherEngine, PartMade, Planned, Progress, Split
from actors.sandbox.child_process import Child, Crashed, News, Outcome
from actors.sandbox.child_protocol import Refused
from actors.worker.task_files import Delivery, Divided, PartStored, deliver, discard, fetch_job
from actors.worker.worker_deps import Bench
from db.connection import insist, is_outage
from db.object_store.object_store import ObjectMissing
from db.queue import task_queue
from db.queue.replan import replan
from db.queue.task_queue import Claim, LeaseLost, Publication
from db.values.error_catalogue import CATALOGUE, FotogramaError
from db.values.lifecycle import Again, Blame, blame_of

PROGRESS_SECONDS = 1.0
"""Progress is written this often at most, with the heartbeat."""
RELEASE_SECONDS = 10.0
"""A task that can't be given back for this long is left to be rescued."""
log = structlog.get_logger()
T = TypeVar("T")


class Ending(StrEnum):
    PUBLISHED = "published"
    SPLIT = "split"
    RETRIED = "retried"
    FAILED = "failed"
    LOST = "lost"
    RELEASED = "released"


@dataclass(slots=True)
class Running:
    """The one task that a worker is at. beat: called at every sign of life. settling: set before the write that ends
    it; nothing interrupts that one."""

    claim: Claim
    beat: Callable[[], None]
    frames_done: int = 0
    settling: asyncio.Event = field(default_factory=asyncio.Event)


async def perform(claim: Claim, child: Child, bench: Bench, stop: asyncio.Event, beat: Callable[[], None]) -> Ending:
    """Does a claimed task. stop: set when the worker drains. beat: called at every sign of life."""
    running = Running(claim, beat)
    work = asyncio.create_task(_work(running, child, bench))
    hearts = asyncio.create_task(_keep_alive(running, bench))
    drain = asyncio.create_task(_drained(stop, bench.drain_seconds))
    try:
        await asyncio.wait({work, hearts, drain}, return_when=asyncio.FIRST_COMPLETED)
        if work.done() or running.settling.is_set():
            return await work
        await _abort(work)
        if hearts.done():
            await hearts
        return await _release(running, bench)
    except LeaseLost:
        return await _discard(running, bench)
    finally:
        await _abort(work, hearts, drain)
        await child.kill()


async def _work(running: Running, child: Child, bench: Bench) -> Ending:
    try:
        outcome = await _do(running, child, bench)
    except (FotogramaError, ObjectMissing, OSError) as error:
        running.settling.set()
        return await _settle(running, bench, _service_error(error))
    running.settling.set()
    return await _settle(running, bench, outcome)


async def _do(running: Running, child: Child, bench: Bench) -> Delivery | Outcome:
    claim = running.claim
    async with _scratch(bench.scratch, claim) as folder:
        job = await fetch_job(claim, bench, folder)
        outcome = await child.do(job, partial(_tell, running, bench))
        return await deliver(claim, bench, job, outcome)


async def _tell(running: Running, bench: Bench, news: News) -> None:
    """Only the first task knows the whole plan, and only the images of a part or a whole are progress."""
    claim = running.claim
    if isinstance(news, Planned) and claim.plan_key is None:
        media, total = news.media.document(), news.frames_total
        await _insist(
            running, bench, lambda: task_queue.plan(bench.database, claim.lease, media=media, frames_total=total)
        )
    elif isinstance(news, Progress) and (claim.plan_key is None or claim.part is not None):
        running.frames_done = news.frames_done


async def _settle(running: Running, bench: Bench, outcome: Delivery | Outcome | FotogramaError) -> Ending:
    claim = running.claim
    match outcome:
        case Publication() | Divided() | PartStored():
            await _insist(running, bench, lambda: _hand_in(claim, bench, outcome))
            return Ending.SPLIT if isinstance(outcome, Divided) else Ending.PUBLISHED
        case Refused(code, detail):
            return await _fail(running, bench, blame_of(CATALOGUE[code].fault), code, detail)
        case Crashed(detail, native_log):
            log.warning(
                "The decoder crashed.", event_name="child.crashed", task_id=str(claim.lease.task_id), log=native_log
            )
            return await _fail(running, bench, Blame.CRASH, "gave_up", detail)
        case OtherEngine(made_by):
            return await _replan(running, bench, made_by)
        case FotogramaError():
            return await _fail(running, bench, Blame.SERVICE, outcome.code, outcome.detail)
        case Extracted() | Split() | PartMade():
            raise AssertionError(outcome)
        case _:
            assert_never(outcome)


async def _hand_in(claim: Claim, bench: Bench, delivery: Delivery) -> None:
    """Raises LeaseLost."""
    database, lease = bench.database, claim.lease
    match delivery:
        case Publication():
            await task_queue.publish(database, lease, delivery)
        case PartStored(key, frames):
            await task_queue.publish_segment(database, lease, key=key, frames=frames)
        case Divided(media, total, plan_key, parts):
            await task_queue.split(database, lease, media=media, frames_total=total, plan_key=plan_key, parts=parts)
        case _:
            assert_never(delivery)


def _service_error(error: FotogramaError | ObjectMissing | OSError) -> FotogramaError:
    """What the worker itself met on the way is never the file's fault."""
    if isinstance(error, FotogramaError):
        return error
    if isinstance(error, ObjectMissing):
        return FotogramaError("unavailable", "The object store does not have the video at this moment.")
    log.warning("The worker's own disk failed.", event_name="scratch.failed", error=str(error))
    return FotogramaError("storage_full" if error.errno == errno.ENOSPC else "unavailable")


async def _fail(running: Running, bench: Bench, blame: Blame, code: str, detail: str) -> Ending:
    database, lease = bench.database, running.claim.lease
    settled = await _insist(
        running,
        bench,
        lambda: task_queue.fail(database, lease, blame=blame, code=code, detail=detail, jitter=bench.jitter()),
    )
    return Ending.RETRIED if isinstance(settled, Again) else Ending.FAILED


async def _replan(running: Running, bench: Bench, made_by: str) -> Ending:
    database, lease = bench.database, running.claim.lease
    log.warning(
        "The plan is another engine's; it is made anew.",
        event_name="task.replanned",
        task=str(lease.task_id),
        made_by=made_by,
    )
    settled = await _insist(running, bench, lambda: replan(database, lease, made_by=made_by, jitter=bench.jitter()))
    return Ending.RETRIED if isinstance(settled, Again) else Ending.FAILED


async def _keep_alive(running: Running, bench: Bench) -> None:
    """Heartbeats, the first at once, none any more while the end is written. Raises LeaseLost."""
    while True:
        try:
            await task_queue.heartbeat(
                bench.database,
                running.claim.lease,
                frames_done=running.frames_done,
                lease_seconds=bench.lease_seconds,
            )
        except Exception as error:
            # A lease that is late can still be renewed: an outage is waited out.
            if not is_outage(error):
                raise
            log.warning("The heartbeat did not reach the database.", event_name="heartbeat.missed")
        running.beat()
        await _until_next_beat(running, bench.heartbeat_seconds)


async def _until_next_beat(running: Running, seconds: float) -> None:
    """Waits for the next heartbeat, or for progress worth telling; for ever once the task is settling."""
    told, waited, step = running.frames_done, 0.0, min(PROGRESS_SECONDS, seconds)
    while waited < seconds and (running.frames_done == told or waited < PROGRESS_SECONDS):
        await asyncio.sleep(step)
        waited += step
        if running.settling.is_set():
            await asyncio.Event().wait()


async def _drained(stop: asyncio.Event, seconds: float) -> None:
    await stop.wait()
    await asyncio.sleep(seconds)


async def _release(running: Running, bench: Bench) -> Ending:
    """Gives the task back; while the database is away only for as long as a drain may take. Raises LeaseLost."""
    with suppress(TimeoutError):
        async with asyncio.timeout(RELEASE_SECONDS):
            await _insist(running, bench, lambda: task_queue.release(bench.database, running.claim.lease))
    return Ending.RELEASED


async def _discard(running: Running, bench: Bench) -> Ending:
    """Throws a lost attempt's objects away, unless it had been published after all."""
    if await _insist(running, bench, lambda: task_queue.was_published(bench.database, running.claim.lease)):
        return Ending.PUBLISHED
    await discard(running.claim, bench)
    return Ending.LOST


async def _insist(running: Running, bench: Bench, write: Callable[[], Awaitable[T]]) -> T:
    """At the pace of heartbeats, and in place of them: nothing else renews the lease, or shows that the worker lives,
    while the end is written."""
    return await insist(write, most_seconds=bench.heartbeat_seconds, beat=running.beat)


async def _abort(*tasks: asyncio.Task[Any]) -> None:
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

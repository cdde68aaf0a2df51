"""One claim from start to end: fetch, decode in the child, store, publish, with heartbeats all the while.

Every way that it can end is a value. An outage of the database never ends it: writes that must not be lost are repeated
until they are in or the lease is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import random
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, assert_never

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.deadline import probe_seconds
from actors.extraction import Extracted, Options, Planned, Progress, Reader, engine_name
from actors.protocol import Job, Limits, Refused
from actors.sandbox import Child, Crashed, News
from db import queue
from db.acceptance import result_prefix
from db.database import insist, is_outage
from db.errors import CATALOGUE, FotogramaError
from db.lifecycle import Again, Blame, blame_of
from db.objects import ObjectMissing, ObjectStore
from db.queue import Claim, LeaseLost, Publication

ARCHIVE = "frames.zip"
REPORT = "report.json"
RESULT_FILES = (ARCHIVE, "manifest.json", "manifest.csv", "sheet.jpg", "sheet.vtt", REPORT)
PROGRESS_SECONDS = 1.0
"""Progress is written this often at most, with the heartbeat."""
DISK_RESERVE_BYTES = 256 << 20
"""What a child leaves free of the worker's disk."""

log = structlog.get_logger()


class Ending(StrEnum):
    PUBLISHED = "published"
    RETRIED = "retried"
    FAILED = "failed"
    LOST = "lost"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Bench:
    """What a worker works with.

    scratch: folder for temporary files. address_space_bytes, seconds_max: of one child. drain_seconds: how long a task
    may go on after the worker was asked to stop.
    """

    database: AsyncEngine
    objects: ObjectStore
    scratch: Path
    reader: Reader
    threads: int
    lease_seconds: float
    heartbeat_seconds: float
    address_space_bytes: int
    seconds_max: float
    max_frames: int
    drain_seconds: float
    jitter: Callable[[], float] = random.random


@dataclass(slots=True)
class Running:
    """The one task that a worker is at. settling: set before the write that ends it; nothing interrupts that one."""

    claim: Claim
    frames_done: int = 0
    settling: asyncio.Event = field(default_factory=asyncio.Event)


async def perform(claim: Claim, child: Child, bench: Bench, stop: asyncio.Event, beat: Callable[[], None]) -> Ending:
    """Does a claimed task. stop: set when the worker drains. beat: called at every sign of life."""
    running = Running(claim)
    work = asyncio.create_task(_work(running, child, bench))
    hearts = asyncio.create_task(_keep_alive(running, bench, beat))
    drain = asyncio.create_task(_drained(stop, bench.drain_seconds))
    try:
        await asyncio.wait({work, hearts, drain}, return_when=asyncio.FIRST_COMPLETED)
        if work.done() or running.settling.is_set():
            return await work
        await _abort(work)
        if hearts.done():
            await hearts
        await queue.release(bench.database, claim.lease)
        return Ending.RELEASED
    except LeaseLost:
        return await _discard(claim, bench)
    finally:
        await _abort(work, hearts, drain)
        await child.kill()


async def _work(running: Running, child: Child, bench: Bench) -> Ending:
    try:
        outcome = await _extract(running, child, bench)
    except (FotogramaError, ObjectMissing, OSError) as error:
        running.settling.set()
        return await _settle(running.claim, bench, _service_error(error))
    running.settling.set()
    return await _settle(running.claim, bench, outcome)


async def _extract(running: Running, child: Child, bench: Bench) -> Publication | Refused | Crashed:
    async with _scratch(bench.scratch, running.claim) as folder:
        outcome = await _decode(running, child, bench, folder)
        if isinstance(outcome, Extracted):
            return await _store(running.claim, bench, folder / "out", outcome)
        return outcome


async def _settle(claim: Claim, bench: Bench, outcome: Publication | Refused | Crashed | FotogramaError) -> Ending:
    match outcome:
        case Publication():
            await insist(lambda: queue.publish(bench.database, claim.lease, outcome))
            return Ending.PUBLISHED
        case Refused(code, detail):
            return await _fail(claim, bench, blame_of(CATALOGUE[code].fault), code, detail)
        case Crashed(detail, native_log):
            log.warning(
                "The decoder crashed.", event_name="child.crashed", task=str(claim.lease.task_id), log=native_log
            )
            return await _fail(claim, bench, Blame.CRASH, "gave_up", detail)
        case FotogramaError():
            return await _fail(claim, bench, Blame.SERVICE, outcome.code, outcome.detail)
        case _:
            assert_never(outcome)


def _service_error(error: FotogramaError | ObjectMissing | OSError) -> FotogramaError:
    """What the worker itself met on the way is never the file's fault."""
    if isinstance(error, FotogramaError):
        return error
    if isinstance(error, ObjectMissing):
        return FotogramaError("unavailable", "The object store does not have the video at this moment.")
    log.warning("The worker's own disk failed.", event_name="scratch.failed", error=str(error))
    return FotogramaError("storage_full" if error.errno == errno.ENOSPC else "unavailable")


async def _decode(running: Running, child: Child, bench: Bench, folder: Path) -> Extracted | Refused | Crashed:
    claim = running.claim
    source = await bench.objects.fetch(claim.object_key, folder / "source")
    size = await bench.objects.size(claim.object_key)
    (folder / "out").mkdir()

    async def tell(news: News) -> None:
        if isinstance(news, Planned):
            media, total = news.media.document(), news.frames_total
            await insist(lambda: queue.plan(bench.database, claim.lease, media=media, frames_total=total))
        elif isinstance(news, Progress):
            running.frames_done = news.frames_done

    return await child.run(_job(claim, bench, source, size, folder / "out"), tell)


def _job(claim: Claim, bench: Bench, source: Path, size: int, out: Path) -> Job:
    return Job(
        source=source.absolute(),
        spec=claim.spec,
        out=out.absolute(),
        options=Options(
            reader=Reader.PYAV if claim.careful else bench.reader,
            threads=1 if claim.careful else bench.threads,
            careful=claim.careful,
            max_frames=bench.max_frames,
        ),
        limits=Limits(
            address_space_bytes=bench.address_space_bytes,
            cpu_seconds=int(bench.seconds_max * (bench.threads + 1)) + 1,
            file_bytes=_room(out),
            probe_seconds=probe_seconds(size),
            seconds_max=bench.seconds_max,
        ),
    )


def _room(folder: Path) -> int:
    room = shutil.disk_usage(folder).free - DISK_RESERVE_BYTES
    if room <= 0:
        raise FotogramaError("storage_full", "The worker's disk is full.")
    return room


async def _store(claim: Claim, bench: Bench, out: Path, extracted: Extracted) -> Publication:
    prefix = result_prefix(claim.extraction_id, claim.lease.task_id, claim.lease.attempt)
    await asyncio.to_thread(_sign_report, out / REPORT, claim)
    stored = {name: await bench.objects.put_file(f"{prefix}/{name}", out / name) for name in RESULT_FILES}
    archive = stored[ARCHIVE]
    if archive.sha256 != extracted.sha256:
        raise FotogramaError("unavailable", "The archive changed on its way to the store.")
    return Publication(
        key=prefix,
        engine=engine_name(bench.reader),
        frames=extracted.frames,
        size=archive.size,
        sha256=archive.sha256,
        warnings=[{"code": warning.code, "detail": warning.detail} for warning in extracted.warnings],
    )


def _sign_report(path: Path, claim: Claim) -> None:
    """Adds what only the worker knows."""
    report = json.loads(path.read_text(encoding="utf-8"))
    report |= {"attempts": claim.lease.attempt, "careful": claim.careful}
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


async def _fail(claim: Claim, bench: Bench, blame: Blame, code: str, detail: str) -> Ending:
    settled = await insist(
        lambda: queue.fail(bench.database, claim.lease, blame=blame, code=code, detail=detail, jitter=bench.jitter())
    )
    return Ending.RETRIED if isinstance(settled, Again) else Ending.FAILED


async def _keep_alive(running: Running, bench: Bench, beat: Callable[[], None]) -> None:
    """Heartbeats, the first at once, none any more while the end is written. Raises LeaseLost."""
    while True:
        try:
            await queue.heartbeat(
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
        beat()
        await _until_next_beat(running, bench.heartbeat_seconds)


async def _until_next_beat(running: Running, seconds: float) -> None:
    """Waits for the next heartbeat, or for progress worth telling; for ever once the task is settling."""
    told, waited = running.frames_done, 0.0
    while waited < seconds and (running.frames_done == told or waited < PROGRESS_SECONDS):
        await asyncio.sleep(PROGRESS_SECONDS)
        waited += PROGRESS_SECONDS
        if running.settling.is_set():
            await asyncio.Event().wait()


async def _drained(stop: asyncio.Event, seconds: float) -> None:
    await stop.wait()
    await asyncio.sleep(seconds)


async def _discard(claim: Claim, bench: Bench) -> Ending:
    """Throws a lost attempt's objects away, unless it had been published after all."""
    if await insist(lambda: queue.was_published(bench.database, claim.lease)):
        return Ending.PUBLISHED
    prefix = result_prefix(claim.extraction_id, claim.lease.task_id, claim.lease.attempt)
    for name in RESULT_FILES:
        with contextlib.suppress(FotogramaError):
            await bench.objects.delete(f"{prefix}/{name}")
    return Ending.LOST


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

"""The time from the acceptance of a video until the child of a free worker gets its job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from actors.extraction_types import ProgressEvent, Reader
from actors.sandbox.child_process import ChildOutcome, DecodingChild
from actors.sandbox.child_protocol import Job
from actors.worker.worker_loop import Worker
from benchmarks.queue.harness import BenchmarkServers
from benchmarks.queue.timed_operations import Queue
from db.acceptance.accept import Upload
from db.acceptance.object_reservations import reserve
from db.cache import open_cache
from db.object_store.folder_store import FolderStore
from db.object_store.object_keys import video_key
from db.values.frame_spec import AllFrames, FrameSpec, canonical
from tests.support.state.worker_setup import make_worker_deps
from tests.support.videos.clips import CLIPS, make_clip

# A worker is free when the child of its next task has started; on a busy machine this takes a second.
IDLE_SECONDS = 2.0
WAIT_SECONDS = 60.0


async def measure_start_seconds(servers: BenchmarkServers, queue: Queue, tries: int) -> list[float]:
    """Seconds from before the accepting transaction until the child has its job, of one idle worker with real servers.

    queue: of a database without waiting tasks.
    """
    clip = servers.folder / "clip.mp4"
    make_clip(clip, CLIPS["h264"])
    store = FolderStore(servers.folder / "objects")
    cache, api_cache = open_cache(servers.valkey.url), open_cache(servers.valkey.url)
    worker = Worker(make_worker_deps(queue.database, store, servers.folder, Reader.PYAV), cache, name="benchmark")
    working = asyncio.create_task(worker.run())
    seconds = []
    try:
        with _job_starts() as job_started:
            for number in range(tries):
                await asyncio.sleep(IDLE_SECONDS)
                job_started.clear()
                upload = await _store_upload(queue, store, clip, number)
                start = time.perf_counter()
                await queue.accept(upload)
                await api_cache.announce()
                async with asyncio.timeout(WAIT_SECONDS):
                    await job_started.wait()
                    seconds.append(time.perf_counter() - start)
                    await _wait_until_ended(queue.database, upload)
    finally:
        worker.stop()
        await working
        await cache.close()
        await api_cache.close()
    return seconds


@contextmanager
def _job_starts() -> Iterator[asyncio.Event]:
    """Yields an event that is set whenever a child gets a job. The child then runs the job as usual."""
    job_started, run_job = asyncio.Event(), DecodingChild.run_job

    async def set_and_run(
        child: DecodingChild, job: Job, on_progress: Callable[[ProgressEvent], Awaitable[None]]
    ) -> ChildOutcome:
        job_started.set()
        return await run_job(child, job, on_progress)

    DecodingChild.run_job = set_and_run  # type: ignore[method-assign, assignment]  # measured from outside
    try:
        yield job_started
    finally:
        DecodingChild.run_job = run_job  # type: ignore[method-assign]  # restores the method


async def _store_upload(queue: Queue, store: FolderStore, clip: Path, number: int) -> Upload:
    """Stores the clip. Each number gives another specification: a worker that can reuse a result runs no job."""
    spec = canonical(FrameSpec(AllFrames(), max_frames=CLIPS["h264"].frames + number))
    video = uuid7()
    key = video_key(video)
    await reserve(queue.database, queue.users[0], key)
    stored = await store.put_file(key, clip)
    return Upload(queue.users[0], video, uuid7(), uuid7(), "clip.mp4", stored.size, stored.sha256, key, spec)


async def _wait_until_ended(database: AsyncEngine, upload: Upload) -> None:
    statement = text("SELECT 1 FROM extractions WHERE id = :id AND finished_at IS NOT NULL")
    while True:
        async with database.connect() as connection:
            if (await connection.execute(statement, {"id": upload.extraction_id})).first():
                return
        await asyncio.sleep(0.1)

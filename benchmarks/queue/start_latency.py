"""From the acceptance of a video to the moment when a free worker's child is told its job."""

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
from benchmarks.queue.harness import SPEC, Ground
from benchmarks.queue.timed_operations import Queue
from db.acceptance.accept import Upload
from db.acceptance.object_reservations import reserve
from db.cache import open_cache
from db.object_store.folder_store import FolderStore
from db.object_store.object_keys import video_key
from tests.support.state.worker_setup import make_worker_deps
from tests.support.videos.clips import CLIPS, make_clip

# A worker is free when the child of its next task has started; on a busy machine this takes a second.
REST_SECONDS = 2.0
WAIT_SECONDS = 60.0


async def starts(ground: Ground, queued: Queue, tries: int) -> list[float]:
    """Seconds from before the accepting transaction until the child has its job, of one idle worker with real servers.

    queued: a database where nothing waits.
    """
    clip = ground.folder / "clip.mp4"
    make_clip(clip, CLIPS["h264"])
    store = FolderStore(ground.folder / "objects")
    cache, api_cache = open_cache(ground.valkey.url), open_cache(ground.valkey.url)
    worker = Worker(make_worker_deps(queued.database, store, ground.folder, Reader.PYAV), cache, name="benchmark")
    working = asyncio.create_task(worker.run())
    seconds = []
    try:
        with _told() as told:
            for _ in range(tries):
                await asyncio.sleep(REST_SECONDS)
                told.clear()
                upload = await _stored(queued, store, clip)
                began = time.perf_counter()
                await queued.accept(upload)
                await api_cache.announce()
                async with asyncio.timeout(WAIT_SECONDS):
                    await told.wait()
                    seconds.append(time.perf_counter() - began)
                    await _ended(queued.database, upload)
    finally:
        worker.stop()
        await working
        await cache.close()
        await api_cache.close()
    return seconds


@contextmanager
def _told() -> Iterator[asyncio.Event]:
    """Set whenever a child is told its job, which is then done as always."""
    told, do = asyncio.Event(), DecodingChild.run_job

    async def watched(child: DecodingChild, job: Job, tell: Callable[[ProgressEvent], Awaitable[None]]) -> ChildOutcome:
        told.set()
        return await do(child, job, tell)

    DecodingChild.run_job = watched  # type: ignore[method-assign, assignment]  # measured from outside
    try:
        yield told
    finally:
        DecodingChild.run_job = do  # type: ignore[method-assign]  # as it was


async def _stored(queued: Queue, store: FolderStore, clip: Path) -> Upload:
    video = uuid7()
    key = video_key(video)
    await reserve(queued.database, queued.users[0], key)
    stored = await store.put_file(key, clip)
    return Upload(queued.users[0], video, uuid7(), uuid7(), "clip.mp4", stored.size, stored.sha256, key, SPEC)


async def _ended(database: AsyncEngine, upload: Upload) -> None:
    ended = text("SELECT 1 FROM extractions WHERE id = :id AND finished_at IS NOT NULL")
    while True:
        async with database.connect() as connection:
            if (await connection.execute(ended, {"id": upload.extraction_id})).first():
                return
        await asyncio.sleep(0.1)

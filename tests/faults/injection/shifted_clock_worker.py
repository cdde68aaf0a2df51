"""A worker whose own clock is wrong: `python -m tests.faults.injection.shifted_clock_worker URL OBJECTS SCRATCH
OFFSET_SECONDS`.

The clock is shifted before a module of the product is imported.
"""

from __future__ import annotations

import asyncio
import datetime
import sys
import time
from pathlib import Path
from typing import Self

POLL_SECONDS = 0.2
CLAIMING_WORKERS = "SELECT count(DISTINCT data->>'worker') FROM events WHERE kind = 'claimed'"


def shift(seconds: float) -> None:
    """Shifts the time of day of this process."""
    true_time = time.time

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Self:
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> Self:
            return cls.now(datetime.UTC).replace(tzinfo=None)

    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: int(time.time() * 1e9)
    datetime.datetime = Shifted  # type: ignore[misc]  # a class of the standard library is replaced


async def run_worker(url: str, objects: Path, scratch: Path, name: str) -> None:
    """Runs the worker until every extraction has ended. It finds its first video when two workers have claimed one: one
    worker could do all work before the other has started.
    """
    from actors.worker.worker_loop import Worker
    from db.cache import open_cache
    from db.connection import open_database
    from db.object_store.folder_store import FolderStore
    from tests.faults.rows.queue_harness import fetch_number, worker_deps_of

    class StoreOfTwo(FolderStore):
        async def size(self, key: str) -> int:
            while await fetch_number(database, CLAIMING_WORKERS) < 2:
                await asyncio.sleep(POLL_SECONDS)
            return await super().size(key)

    database, cache = open_database(url, name=name), open_cache("redis://127.0.0.1:1/0")
    worker = Worker(worker_deps_of(database, StoreOfTwo(objects), scratch), cache, name=name)
    running = asyncio.create_task(worker.run())
    while await fetch_number(database, "SELECT count(*) FROM extractions WHERE finished_at IS NULL"):
        await asyncio.sleep(POLL_SECONDS)
    worker.stop()
    await running
    await cache.close()
    await database.dispose()


if __name__ == "__main__":
    offset = float(sys.argv[4])
    shift(offset)
    asyncio.run(run_worker(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), f"worker {offset:+.0f} s"))

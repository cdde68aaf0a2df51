"""The harness of rows without the whole service: a PostgreSQL of their own, real workers, and the count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.extraction_types import Reader
from actors.sandbox.child_process import DecodingChild
from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from cluster.local.servers.embedded_postgres import Postgres
from db import migrate
from db.connection import open_database
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from db.queue.task_queue import Claim, Lease
from tests.faults.audit import STALE
from tests.support.servers.real_servers import running_postgres
from tests.support.state import database_rows, worker_setup
from tests.support.videos.clips import ClipSpec, make_clip

ENDS = ("published", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Count:
    """What became of the accepted extractions, by the list that the row keeps itself."""

    lost: int
    duplicated: int
    stale: int


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[Postgres]:
    """A migrated server in a folder with a short path."""
    with running_postgres(folder) as server:
        migrate.upgrade(server.url())
        yield server


@asynccontextmanager
async def queue_database(folder: Path) -> AsyncIterator[AsyncEngine]:
    """The same, connected."""
    async with postgres(folder) as server:
        database = open_database(server.url(), name="faults", connections=10)
        try:
            yield database
        finally:
            await database.dispose()


def worker_deps_of(database: AsyncEngine, objects: ObjectStore, folder: Path) -> WorkerDeps:
    return worker_setup.make_worker_deps(database, objects, folder, Reader.PYAV)


def small_clip(folder: Path) -> Path:
    path = folder / "small.mp4"
    make_clip(path, ClipSpec(frames=12))
    return path


async def submit(database: AsyncEngine, store: ObjectStore, clip: Path) -> database_rows.Accepted:
    """A video of which every frame is asked for."""
    return await worker_setup.submit_video(database, store, clip, worker_setup.ALL_FRAMES)


async def claim_one(database: AsyncEngine, worker: str = "worker") -> Claim:
    (claim,) = await task_queue.claim(database, worker=worker)
    return claim


async def work_off(
    worker_deps: WorkerDeps, meet: Callable[[Claim, DecodingChild], None] | None = None
) -> list[tuple[Claim, TaskOutcome]]:
    """Claims and performs until nothing is left; pauses between retries are skipped. meet: sees each claim first."""
    done: list[tuple[Claim, TaskOutcome]] = []
    while True:
        await database_rows.execute(worker_deps.database, "UPDATE tasks SET ready_at = now() WHERE state = 'ready'")
        claims = await task_queue.claim(worker_deps.database, worker="worker")
        if not claims:
            return done
        child = await DecodingChild.start()
        if meet is not None:
            meet(claims[0], child)
        done.append((claims[0], await perform(claims[0], child, worker_deps, asyncio.Event(), lambda: None)))


async def expire(database: AsyncEngine, lease: Lease) -> None:
    """Lets a lease's time pass."""
    statement = "UPDATE tasks SET lease_expires_at = clock_timestamp() - interval '1 second' WHERE id = :id"
    await database_rows.execute(database, f"{statement} AND state = 'leased'", id=lease.task_id)


async def number(database: AsyncEngine, statement: str, **values: object) -> int:
    """The one number that a statement gives."""
    async with database.connect() as connection:
        return int((await connection.execute(text(statement), values)).scalar_one())


async def count(database: AsyncEngine, extractions: Iterable[UUID], status: Sequence[str] = ("succeeded",)) -> Count:
    """lost: without such an end. duplicated: ends, notifications and acceptances beyond one. stale: of every row."""
    ids = list(extractions)
    kept = await number(
        database,
        "SELECT count(*) FROM extractions WHERE id = ANY(:ids) AND status::text = ANY(:status)",
        ids=ids,
        status=list(status),
    )
    ends = await number(
        database,
        """SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM events WHERE kind = ANY(:ends)
           GROUP BY extraction_id) AS ended""",
        ends=list(ENDS),
    )
    owed = "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM outbox GROUP BY extraction_id, channel) AS o"
    unasked = await number(database, "SELECT count(*) FROM extractions WHERE NOT id = ANY(:ids)", ids=ids)
    duplicated = ends + await number(database, owed) + unasked
    return Count(lost=len(ids) - kept, duplicated=duplicated, stale=await number(database, STALE))

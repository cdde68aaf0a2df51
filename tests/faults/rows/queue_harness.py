"""What rows on queue functions share: a PostgreSQL of their own, real workers, and the count of outcomes."""

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
from tests.support.decoding_children import start_child
from tests.support.servers.real_servers import running_postgres
from tests.support.state import database_rows, worker_setup
from tests.support.videos.clips import ClipSpec, make_clip

ENDS = ("published", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """What became of the accepted extractions that a row has listed."""

    lost: int
    duplicated: int
    stale: int


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[Postgres]:
    """Runs a migrated server in a folder with a short path."""
    with running_postgres(folder) as server:
        migrate.upgrade(server.url())
        yield server


@asynccontextmanager
async def queue_database(folder: Path) -> AsyncIterator[AsyncEngine]:
    """Runs a migrated server and opens connections to it."""
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
    """Accepts a clip, with a specification that selects every frame."""
    return await worker_setup.submit_video(database, store, clip, worker_setup.ALL_FRAMES)


async def claim_one(database: AsyncEngine, worker: str = "worker") -> Claim:
    (claim,) = await task_queue.claim(database, worker=worker)
    return claim


async def perform_all_tasks(
    worker_deps: WorkerDeps, on_claim: Callable[[Claim, DecodingChild], None] | None = None
) -> list[tuple[Claim, TaskOutcome]]:
    """Claims and performs until no task is ready; skips the pauses between retries. on_claim: called before a task."""
    outcomes: list[tuple[Claim, TaskOutcome]] = []
    while True:
        await database_rows.execute(worker_deps.database, "UPDATE tasks SET ready_at = now() WHERE state = 'ready'")
        claims = await task_queue.claim(worker_deps.database, worker="worker")
        if not claims:
            return outcomes
        child = await start_child()
        if on_claim is not None:
            on_claim(claims[0], child)
        outcomes.append((claims[0], await perform(claims[0], child, worker_deps, asyncio.Event(), lambda: None)))


async def expire_lease(database: AsyncEngine, lease: Lease) -> None:
    """Lets a lease expire."""
    statement = "UPDATE tasks SET lease_expires_at = clock_timestamp() - interval '1 second' WHERE id = :id"
    await database_rows.execute(database, f"{statement} AND state = 'leased'", id=lease.task_id)


async def fetch_number(database: AsyncEngine, statement: str, **values: object) -> int:
    """The only value of a statement that returns one number."""
    async with database.connect() as connection:
        return int((await connection.execute(text(statement), values)).scalar_one())


async def count_outcomes(
    database: AsyncEngine, extractions: Iterable[UUID], status: Sequence[str] = ("succeeded",)
) -> OutcomeCounts:
    """Counts what became of these extractions. status: the ends that are good.

    lost: extractions without such an end. duplicated: second ends and notifications, and extractions that are not
    listed. stale: stale results in the whole database.
    """
    ids = list(extractions)
    ended = await fetch_number(
        database,
        "SELECT count(*) FROM extractions WHERE id = ANY(:ids) AND status::text = ANY(:status)",
        ids=ids,
        status=list(status),
    )
    ends = await fetch_number(
        database,
        """SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM events WHERE kind = ANY(:ends)
           GROUP BY extraction_id) AS ended""",
        ends=list(ENDS),
    )
    repeated_notifications = (
        "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM outbox GROUP BY extraction_id, channel) AS o"
    )
    unknown = await fetch_number(database, "SELECT count(*) FROM extractions WHERE NOT id = ANY(:ids)", ids=ids)
    duplicated = ends + await fetch_number(database, repeated_notifications) + unknown
    return OutcomeCounts(lost=len(ids) - ended, duplicated=duplicated, stale=await fetch_number(database, STALE))

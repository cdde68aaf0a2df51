"""Where the rows without a whole service stand: a PostgreSQL of their own, real workers, and the count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from actors.bench import Bench
from actors.extraction import Reader
from actors.sandbox import Child
from actors.task import Ending, perform
from cluster.local.account import server_account
from cluster.local.postgres import Postgres, programs_for
from db import acceptance, migrate, queue
from db.acceptance import Upload, video_key
from db.database import open_database
from db.objects import ObjectStore
from db.queue import Claim, Lease, Publication
from db.spec import canonical, parse
from tests.clips import ClipSpec, make
from tests.integration import rows
from tests.servers import QUICK

ENDS = ("published", "failed", "cancelled")
PUBLICATION = Publication(key="results/a/b/1", engine="auto/1", frames=3, size=99, sha256="f" * 64, warnings=[])


@dataclass(frozen=True, slots=True)
class Count:
    """What became of the accepted extractions, by the list that the row keeps itself."""

    lost: int
    duplicated: int


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[Postgres]:
    """A migrated server in a folder with a short path."""
    account = server_account()
    server = Postgres(
        folder / "postgres",
        folder / "sockets",
        folder / "postgres.log",
        password="test",
        account=account,
        programs=programs_for(account, folder),
        settings=QUICK,
    )
    server.start()
    try:
        migrate.upgrade(server.url())
        yield server
    finally:
        server.stop()


@asynccontextmanager
async def database(folder: Path) -> AsyncIterator[AsyncEngine]:
    """The same, connected."""
    async with postgres(folder) as server:
        engine = open_database(server.url(), name="faults", connections=10)
        try:
            yield engine
        finally:
            await engine.dispose()


def bench_of(engine: AsyncEngine, objects: ObjectStore, folder: Path) -> Bench:
    (folder / "scratch").mkdir(exist_ok=True)
    return Bench(
        database=engine,
        objects=objects,
        scratch=folder / "scratch",
        reader=Reader.PYAV,
        threads=1,
        lease_seconds=60,
        heartbeat_seconds=15,
        address_space_bytes=4 << 30,
        seconds_max=600,
        max_frames=10_000,
        drain_seconds=0,
        jitter=lambda: 0.0,
    )


def small_clip(folder: Path) -> Path:
    path = folder / "small.mp4"
    make(path, ClipSpec(frames=12))
    return path


async def submit(engine: AsyncEngine, store: ObjectStore, clip: Path) -> rows.Accepted:
    """As the API does it: reserve, put, accept."""
    user_id = await rows.user(engine, f"{uuid7()}@example.com")
    video_id, extraction_id, task_id = uuid7(), uuid7(), uuid7()
    key = video_key(video_id)
    await acceptance.reserve(engine, user_id, key)
    stored = await store.put_file(key, clip)
    spec = canonical(parse('{"sample": {"mode": "all"}}'))
    upload = Upload(video_id, extraction_id, task_id, clip.name, stored.size, stored.sha256, key, spec)
    async with engine.begin() as connection:
        await acceptance.accept(connection, user_id, [upload])
    return rows.Accepted(user_id, video_id, extraction_id, task_id)


async def claim_one(engine: AsyncEngine, worker: str = "worker") -> Claim:
    (claim,) = await queue.claim(engine, worker=worker)
    return claim


async def work_off(bench: Bench, meet: Callable[[Claim, Child], None] | None = None) -> list[tuple[Claim, Ending]]:
    """Claims and performs until nothing is left; pauses between retries are skipped. meet: sees each claim first."""
    done = []
    while True:
        await rows.change(bench.database, "UPDATE tasks SET ready_at = now() WHERE state = 'ready'")
        claims = await queue.claim(bench.database, worker="worker")
        if not claims:
            return done
        child = await Child.start()
        if meet is not None:
            meet(claims[0], child)
        done.append((claims[0], await perform(claims[0], child, bench, asyncio.Event(), lambda: None)))


async def expire(engine: AsyncEngine, lease: Lease) -> None:
    """Lets a lease's time pass."""
    statement = "UPDATE tasks SET lease_expires_at = clock_timestamp() - interval '1 second' WHERE id = :id"
    await rows.change(engine, f"{statement} AND state = 'leased'", id=lease.task_id)


async def number(engine: AsyncEngine, statement: str, **values: object) -> int:
    """The one number that a statement gives."""
    async with engine.connect() as connection:
        return int((await connection.execute(text(statement), values)).scalar_one())


async def count(engine: AsyncEngine, extractions: Iterable[UUID], status: Sequence[str] = ("succeeded",)) -> Count:
    """lost: without such an end. duplicated: ends, notifications and acceptances beyond one."""
    ids = list(extractions)
    kept = await number(
        engine,
        "SELECT count(*) FROM extractions WHERE id = ANY(:ids) AND status::text = ANY(:status)",
        ids=ids,
        status=list(status),
    )
    ends = await number(
        engine,
        """SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM events WHERE kind = ANY(:ends)
           GROUP BY extraction_id) AS ended""",
        ends=list(ENDS),
    )
    owed = "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM outbox GROUP BY extraction_id, channel) AS o"
    unasked = await number(engine, "SELECT count(*) FROM extractions WHERE NOT id = ANY(:ids)", ids=ids)
    return Count(len(ids) - kept, ends + await number(engine, owed) + unasked)


async def together(*calls: Callable[[], Awaitable[object]], pauses: Sequence[float]) -> list[object]:
    """Starts calls at one moment, each after its own short pause; gives their results and exceptions."""
    gate = asyncio.Barrier(len(calls))

    async def one(call: Callable[[], Awaitable[object]], pause: float) -> object:
        await gate.wait()
        await asyncio.sleep(pause)
        return await call()

    waiting = (one(call, pause) for call, pause in zip(calls, pauses, strict=True))
    return await asyncio.gather(*waiting, return_exceptions=True)

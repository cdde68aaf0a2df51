"""What is timed: accepting, claiming, publishing and listing, through the product's own functions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from benchmarks.queue.harness import SPEC
from benchmarks.queue.pgbench import SCRIPT
from db.acceptance.accept import Upload, accept
from db.acceptance.object_reservations import reserve
from db.acceptance.quotas import Quotas
from db.connection import open_database
from db.object_store.object_keys import video_key
from db.queue import task_queue
from db.queue.task_queue import Claim, Publication
from db.videos import list_keys, read_rows
from serve_app.submission.group_commit import AcceptRequest, GroupCommit

CONNECTIONS = 16
WAITING_MAX = 1_000_000
PAGE = 20
ONE_ROW = text(SCRIPT)


class Queue:
    """One database of the run. users: all accounts, in the order of their making."""

    def __init__(self, database: AsyncEngine, users: Sequence[UUID]) -> None:
        self.database, self.users = database, users
        self._turn = count()

    async def ready_upload(self, user: UUID) -> Upload:
        """An upload whose object is reserved: what comes before accepting, and is not timed with it."""
        video = uuid7()
        upload = Upload(
            user_id=user,
            video_id=video,
            extraction_id=uuid7(),
            task_id=uuid7(),
            filename="clip.mp4",
            size=1_000_000,
            sha256="0" * 64,
            object_key=video_key(video),
            spec=SPEC,
        )
        await reserve(self.database, user, upload.object_key)
        return upload

    async def accept(self, upload: Upload) -> None:
        async with self.database.begin() as connection:
            await accept(connection, [upload])

    async def claim(self) -> Claim | None:
        claims = await task_queue.claim(self.database, worker="benchmark")
        return claims[0] if claims else None

    async def publish(self, claim: Claim) -> None:
        done = Publication(f"results/{claim.lease.task_id}", "pyav", 100, 1_000_000, "0" * 64, [])
        await task_queue.publish(self.database, claim.lease, done)

    async def list_page(self) -> None:
        """The newest page of the next user, as the API reads it from Postgres alone."""
        keys = await list_keys(self.database, self.next_user(), limit=PAGE)
        await read_rows(self.database, [key.extraction_id for key in keys])

    def next_user(self) -> UUID:
        return self.users[next(self._turn) % len(self.users)]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Queue]:
    """Connects CONNECTIONS times, so that no connecting is measured."""
    database = open_database(url, name="benchmark", connections=CONNECTIONS)
    try:
        async with database.connect() as connection:
            users = (await connection.execute(text("SELECT id FROM users ORDER BY id"))).scalars().all()
        open_connections = [await database.connect() for _ in range(CONNECTIONS)]
        for one in open_connections:
            await one.close()
        yield Queue(database, users)
    finally:
        await database.dispose()


async def seconds_of(action: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await action()
    return time.perf_counter() - began


async def accepts_per_second(queued: Queue, users: Sequence[UUID], each: int) -> float:
    """As one API replica accepts: a call after the other for each of `users`, `each` times, the bytes being stored and
    the reservations made before."""
    batches = [[await queued.ready_upload(user) for _ in range(each)] for user in users]
    group_commit = GroupCommit(queued.database, Quotas(waiting=WAITING_MAX))

    async def one(uploads: Sequence[Upload]) -> None:
        for upload in uploads:
            await group_commit.accept(AcceptRequest([upload]))

    seconds = await seconds_of(lambda: asyncio.gather(*(one(batch) for batch in batches)))
    return len(users) * each / seconds


async def driver_per_second(queued: Queue, each: int) -> float:
    """pgbench's transaction through the driver of the service: how much of a rate is the client's own work."""

    async def one() -> None:
        for _ in range(each):
            async with queued.database.begin() as connection:
                await connection.execute(ONE_ROW)

    seconds = await seconds_of(lambda: asyncio.gather(*(one() for _ in range(CONNECTIONS))))
    return CONNECTIONS * each / seconds


async def turns_per_second(queued: Queue, workers: int, seconds: float) -> float:
    """Claims with their publications, by so many workers, for so long or until nothing waits."""
    began = time.perf_counter()

    async def one() -> int:
        done = 0
        while time.perf_counter() - began < seconds and (claim := await queued.claim()):
            await queued.publish(claim)
            done += 1
        return done

    done = sum(await asyncio.gather(*(one() for _ in range(workers))))
    return done / (time.perf_counter() - began)

"""The timed operations: accept, claim, publish and list, through the product's own functions."""

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
    """The queue in one database of the run. users: all accounts, oldest first."""

    def __init__(self, database: AsyncEngine, users: Sequence[UUID]) -> None:
        self.database, self.users = database, users
        self._turn = count()

    async def reserve_upload(self, user: UUID) -> Upload:
        """Reserves the object of an upload. It comes before accepting, and is not timed."""
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
        publication = Publication(f"results/{claim.lease.task_id}", "pyav", 100, 1_000_000, "0" * 64, [])
        await task_queue.publish(self.database, claim.lease, publication)

    async def list_page(self) -> None:
        """The newest page of the next user, as the API reads it from Postgres alone."""
        keys = await list_keys(self.database, self.next_user(), limit=PAGE)
        await read_rows(self.database, [key.extraction_id for key in keys])

    def next_user(self) -> UUID:
        return self.users[next(self._turn) % len(self.users)]


@asynccontextmanager
async def open_queue(url: str) -> AsyncIterator[Queue]:
    """Opens all CONNECTIONS of the pool first, so that no measurement includes connecting."""
    database = open_database(url, name="benchmark", connections=CONNECTIONS)
    try:
        async with database.connect() as connection:
            users = (await connection.execute(text("SELECT id FROM users ORDER BY id"))).scalars().all()
        open_connections = [await database.connect() for _ in range(CONNECTIONS)]
        for connection in open_connections:
            await connection.close()
        yield Queue(database, users)
    finally:
        await database.dispose()


async def seconds_of(action: Callable[[], Awaitable[object]]) -> float:
    start = time.perf_counter()
    await action()
    return time.perf_counter() - start


async def accepts_per_second(queue: Queue, users: Sequence[UUID], count_each: int) -> float:
    """Accepts as one API replica does: `count_each` calls for each user, one after the other. The reservations are made
    before."""
    batches = [[await queue.reserve_upload(user) for _ in range(count_each)] for user in users]
    group_commit = GroupCommit(queue.database, Quotas(waiting=WAITING_MAX))

    async def accept_all(uploads: Sequence[Upload]) -> None:
        for upload in uploads:
            await group_commit.accept(AcceptRequest([upload]))

    seconds = await seconds_of(lambda: asyncio.gather(*(accept_all(batch) for batch in batches)))
    return len(users) * count_each / seconds


async def driver_transactions_per_second(queue: Queue, count_each: int) -> float:
    """Runs pgbench's transaction through the service's driver: this shows how much of a rate is the client's work."""

    async def insert_rows() -> None:
        for _ in range(count_each):
            async with queue.database.begin() as connection:
                await connection.execute(ONE_ROW)

    seconds = await seconds_of(lambda: asyncio.gather(*(insert_rows() for _ in range(CONNECTIONS))))
    return CONNECTIONS * count_each / seconds


async def publications_per_second(queue: Queue, workers: int, seconds: float) -> float:
    """Claims and publishes with `workers` concurrent workers, for this time or until no task waits."""
    start = time.perf_counter()

    async def work() -> int:
        published = 0
        while time.perf_counter() - start < seconds and (claim := await queue.claim()):
            await queue.publish(claim)
            published += 1
        return published

    published = sum(await asyncio.gather(*(work() for _ in range(workers))))
    return published / (time.perf_counter() - start)

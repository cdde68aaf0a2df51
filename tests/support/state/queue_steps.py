"""Steps on the queue that many tests take: claim, fail, cancel, split, count."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from db.queue import task_queue
from db.queue.task_queue import Claim, Lease, Publication
from db.values.lifecycle import LEASE_SECONDS, Blame, GiveUp, Retry
from db.values.segment import Segment
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted

PUBLICATION = Publication(key="results/a/b/1", engine="auto/1", frames=3, size=99, sha256="f" * 64, warnings=[])


async def claim_one(database: AsyncEngine, worker: str = "w1", lease_seconds: float = LEASE_SECONDS) -> Claim:
    (claim,) = await task_queue.claim(database, worker=worker, lease_seconds=lease_seconds)
    return claim


async def publish_result(database: AsyncEngine, lease: Lease, warnings: Sequence[Mapping[str, str]] = ()) -> None:
    """Publishes PUBLICATION with these warnings under the prefix of this attempt."""
    key = f"results/{lease.task_id}/{lease.attempt}"
    await task_queue.publish(database, lease, replace(PUBLICATION, key=key, warnings=warnings))


async def fail_task(database: AsyncEngine, lease: Lease, blame: Blame, code: str = "unavailable") -> Retry | GiveUp:
    return await task_queue.fail(database, lease, blame=blame, code=code, detail="It broke.", jitter=0.0)


async def expire_lease(database: AsyncEngine, task_id: UUID) -> None:
    await database_rows.execute(
        database,
        "UPDATE tasks SET lease_expires_at = clock_timestamp() - interval '1 second' WHERE id = :id",
        id=task_id,
    )


async def accept_many(database: AsyncEngine, user_id: UUID, count: int) -> list[Accepted]:
    """Accepts this many videos of one account, one after the other."""
    return [await database_rows.accept_video(database, user_id) for _ in range(count)]


async def count_throttled_and_open(database: AsyncEngine, user_id: UUID) -> tuple[int, int]:
    row = await database_rows.fetch_one(
        database,
        "SELECT count(*) FILTER (WHERE state = 'throttled') AS throttled,"
        " count(*) FILTER (WHERE state IN ('ready', 'leased')) AS open FROM tasks WHERE user_id = :user_id",
        user_id=user_id,
    )
    return row.throttled, row.open


async def cancel_extraction(database: AsyncEngine, extraction_id: UUID) -> None:
    async with database.begin() as connection:
        await task_queue.cancel(connection, extraction_id)


SEGMENTS = [Segment(0, 0, 10, 300), Segment(1, 10, 20, 200), Segment(2, 20, 30, 100)]


async def split_extraction(database: AsyncEngine, lease: Lease, segments: Sequence[Segment] = SEGMENTS) -> None:
    await task_queue.split(
        database,
        lease,
        media={"width": 1920, "height": 1080},
        frames_total=30,
        plan_key="results/e/t/1",
        segments=segments,
    )


async def accept_and_split(database: AsyncEngine) -> tuple[Accepted, Lease]:
    """Accepts a video, claims its task and splits it."""
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    await split_extraction(database, lease)
    return accepted, lease


def segment_number(claim: Claim) -> int:
    assert claim.segment is not None
    return claim.segment.number


async def claim_segments(database: AsyncEngine, count: int = 3) -> list[Claim]:
    return sorted([await claim_one(database, f"w{n}") for n in range(count)], key=segment_number)


async def share_and_real_open(database: AsyncEngine, user_id: UUID) -> tuple[int, int]:
    """The open tasks as the share counts them, and as the tasks table has them."""
    counted = "SELECT count(*) FROM tasks WHERE user_id = :user_id AND state IN ('ready', 'leased')"
    row = await database_rows.fetch_one(
        database, f"SELECT open, ({counted}) AS counted FROM shares WHERE user_id = :user_id", user_id=user_id
    )
    return row.open, row.counted

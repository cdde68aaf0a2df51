"""A long video over several workers: split once, each segment fenced, one assembling task, one end."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queue import task_queue
from db.queue.task_queue import Claim, Lease, LeaseLost
from db.values.lifecycle import Blame, GiveUp, Retry
from db.values.segment import Segment
from tests.integration.db.test_queue import PUBLICATION, claim_one, expire, fail
from tests.support import database_rows
from tests.support.database_rows import Accepted

SEGMENTS = [Segment(0, 0, 10, 300), Segment(1, 10, 20, 200), Segment(2, 20, 30, 100)]


async def split(database: AsyncEngine, lease: Lease, segments: Sequence[Segment] = SEGMENTS) -> None:
    await task_queue.split(
        database,
        lease,
        media={"width": 1920, "height": 1080},
        frames_total=30,
        plan_key="results/e/t/1",
        segments=segments,
    )


async def planned(database: AsyncEngine) -> tuple[Accepted, Lease]:
    """An extraction that has just been split."""
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    await split(database, lease)
    return accepted, lease


def number_of(claim: Claim) -> int:
    assert claim.segment is not None
    return claim.segment.number


async def segments(database: AsyncEngine, count: int = 3) -> list[Claim]:
    return sorted([await claim_one(database, f"w{n}") for n in range(count)], key=number_of)


async def tasks(database: AsyncEngine, kind: str) -> int:
    row = await database_rows.fetch_one(database, "SELECT count(*) AS n FROM tasks WHERE kind = :kind", kind=kind)
    return int(row.n)


async def open_and_counted(database: AsyncEngine, user_id: UUID) -> tuple[int, int]:
    """What the share says is open, and what is."""
    counted = "SELECT count(*) FROM tasks WHERE user_id = :user_id AND state IN ('ready', 'leased')"
    row = await database_rows.fetch_one(
        database, f"SELECT open, ({counted}) AS counted FROM shares WHERE user_id = :user_id", user_id=user_id
    )
    return row.open, row.counted


async def test_segments_are_claimed_with_their_ranges_and_assembled_by_number(database: AsyncEngine) -> None:
    accepted, _ = await planned(database)
    claims = await segments(database)
    assert [claim.segment for claim in claims] == SEGMENTS
    assert {(claim.kind, claim.plan_key) for claim in claims} == {("segment", "results/e/t/1")}
    assert await task_queue.claim(database, worker="w") == []
    for claim in reversed(claims):
        await task_queue.publish_segment(database, claim.lease, key=f"segment-{number_of(claim)}", frames=10)
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.frames_done, extraction.segments_left) == ("running", 30, 0)
    last = await claim_one(database)
    assert (last.kind, last.segment, last.plan_key) == ("assemble", None, "results/e/t/1")
    assert last.segment_keys == ("segment-0", "segment-1", "segment-2")
    await task_queue.publish(database, last.lease, PUBLICATION)
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "succeeded"
    assert await open_and_counted(database, accepted.user_id) == (0, 0)


async def test_repeated_split_and_publish_by_the_same_attempt_change_nothing(database: AsyncEngine) -> None:
    accepted, lease = await planned(database)
    await split(database, lease)
    (first, *_) = await segments(database)
    for _ in range(2):
        await task_queue.publish_segment(database, first.lease, key="segment-0", frames=10)
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).segments_left == 2
    assert await tasks(database, "segment") == 3


async def test_last_two_segments_at_once_add_one_assemble_task(database: AsyncEngine) -> None:
    for _ in range(20):
        accepted = await database_rows.accept_video(database)
        await split(database, (await claim_one(database)).lease, SEGMENTS[:2])
        pair = await segments(database, 2)
        await asyncio.gather(*(task_queue.publish_segment(database, c.lease, key="p", frames=1) for c in pair))
        last = await claim_one(database)
        assert (last.kind, last.extraction_id) == ("assemble", accepted.extraction_id)
        assert await task_queue.claim(database, worker="w") == []
        await task_queue.publish(database, last.lease, PUBLICATION)


@pytest.mark.parametrize("how", ["release", "crash", "rescue"])
async def test_retried_segment_takes_back_only_its_own_progress(database: AsyncEngine, how: str) -> None:
    accepted, _ = await planned(database)
    first, second, _ = await segments(database)
    await task_queue.heartbeat(database, first.lease, frames_done=4)
    await task_queue.heartbeat(database, second.lease, frames_done=3)
    if how == "release":
        await task_queue.release(database, first.lease)
    elif how == "crash":
        assert await fail(database, first.lease, Blame.CRASH, "gave_up") == Retry(0.0)
    else:
        await expire(database, first.lease.task_id)
        assert (await task_queue.rescue(database, jitter=0.0, lease_seconds=0)).again == 1
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.frames_done) == ("running", 3)
    with pytest.raises(LeaseLost):
        await task_queue.publish_segment(database, first.lease, key="late", frames=10)
    again = await claim_one(database)
    assert (again.segment, again.lease.attempt) == (SEGMENTS[0], 2)


async def test_failed_segment_ends_the_extraction_and_its_siblings(database: AsyncEngine) -> None:
    accepted, _ = await planned(database)
    first, second, _ = await segments(database)
    await task_queue.publish_segment(database, second.lease, key="segment-1", frames=10)
    assert await fail(database, first.lease, Blame.FILE, "undecodable") == GiveUp("undecodable")
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "failed"
    states = await database_rows.fetch_one(
        database, "SELECT array_agg(state::text ORDER BY segment_number) AS all FROM tasks WHERE kind = 'segment'"
    )
    assert states.all == ["failed", "done", "cancelled"]
    assert await open_and_counted(database, accepted.user_id) == (0, 0)


async def test_concurrent_ends_of_siblings_never_deadlock(database: AsyncEngine) -> None:
    for _ in range(20):
        accepted, _ = await planned(database)
        first, second, third = await segments(database)

        async def cancel(extraction_id: UUID = accepted.extraction_id) -> bool:
            async with database.begin() as connection:
                return await task_queue.cancel(connection, extraction_id)

        outcomes = await asyncio.gather(
            fail(database, first.lease, Blame.FILE, "undecodable"),
            fail(database, second.lease, Blame.FILE, "undecodable"),
            task_queue.publish_segment(database, third.lease, key="p", frames=1),
            cancel(),
            return_exceptions=True,
        )
        assert all(not isinstance(each, Exception) or isinstance(each, LeaseLost) for each in outcomes)
        ends = [outcome for outcome in outcomes if isinstance(outcome, GiveUp) or outcome is True]
        assert len(ends) == 1
        assert await open_and_counted(database, accepted.user_id) == (0, 0)


async def test_cancel_during_split_leaves_no_segment(database: AsyncEngine) -> None:
    for _ in range(20):
        accepted = await database_rows.accept_video(database)
        lease = (await claim_one(database)).lease

        async def cancel(extraction_id: UUID = accepted.extraction_id) -> bool:
            async with database.begin() as connection:
                return await task_queue.cancel(connection, extraction_id)

        _, cancelled = await asyncio.gather(split(database, lease), cancel(), return_exceptions=True)
        assert cancelled is True
        assert await task_queue.claim(database, worker="w") == []
        assert await open_and_counted(database, accepted.user_id) == (0, 0)

"""A long video in segments: split once, each segment fenced, one assemble task, one end."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queue import task_queue
from db.queue.task_queue import LeaseLost
from db.values.lifecycle import Blame, GiveUp, Retry
from tests.support.state import database_rows
from tests.support.state.queue_steps import (
    SEGMENTS,
    accept_and_split,
    claim_one,
    claim_segments,
    expire_lease,
    fail_task,
    publish_result,
    segment_number,
    share_and_real_open,
    split_extraction,
)


async def count_tasks(database: AsyncEngine, kind: str) -> int:
    row = await database_rows.fetch_one(database, "SELECT count(*) AS n FROM tasks WHERE kind = :kind", kind=kind)
    return int(row.n)


async def test_segments_are_claimed_with_their_ranges_and_assembled_by_number(database: AsyncEngine) -> None:
    accepted, _ = await accept_and_split(database)
    claims = await claim_segments(database)
    assert [claim.segment for claim in claims] == SEGMENTS
    assert {(claim.kind, claim.plan_key) for claim in claims} == {("segment", "results/e/t/1")}
    assert await task_queue.claim(database, worker="w") == []
    for claim in reversed(claims):
        await task_queue.publish_segment(database, claim.lease, key=f"segment-{segment_number(claim)}", frames=10)
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.frames_done, extraction.segments_left) == ("running", 30, 0)
    assemble_claim = await claim_one(database)
    assert (assemble_claim.kind, assemble_claim.segment, assemble_claim.plan_key) == ("assemble", None, "results/e/t/1")
    assert assemble_claim.segment_keys == ("segment-0", "segment-1", "segment-2")
    await publish_result(database, assemble_claim.lease)
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "succeeded"
    assert await share_and_real_open(database, accepted.user_id) == (0, 0)


async def test_repeated_split_and_publish_by_the_same_attempt_change_nothing(database: AsyncEngine) -> None:
    accepted, lease = await accept_and_split(database)
    await split_extraction(database, lease)
    (first, *_) = await claim_segments(database)
    for _ in range(2):
        await task_queue.publish_segment(database, first.lease, key="segment-0", frames=10)
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).segments_left == 2
    assert await count_tasks(database, "segment") == 3


async def test_last_two_segments_at_once_add_one_assemble_task(database: AsyncEngine) -> None:
    for _ in range(20):
        accepted = await database_rows.accept_video(database)
        await split_extraction(database, (await claim_one(database)).lease, SEGMENTS[:2])
        pair = await claim_segments(database, 2)
        await asyncio.gather(*(task_queue.publish_segment(database, claim.lease, key="p", frames=1) for claim in pair))
        assemble_claim = await claim_one(database)
        assert (assemble_claim.kind, assemble_claim.extraction_id) == ("assemble", accepted.extraction_id)
        assert await task_queue.claim(database, worker="w") == []
        await publish_result(database, assemble_claim.lease)


@pytest.mark.parametrize("end", ["release", "crash", "rescue"])
async def test_retried_segment_takes_back_only_its_own_progress(database: AsyncEngine, end: str) -> None:
    accepted, _ = await accept_and_split(database)
    first, second, _ = await claim_segments(database)
    await task_queue.heartbeat(database, first.lease, frames_done=4)
    await task_queue.heartbeat(database, second.lease, frames_done=3)
    if end == "release":
        await task_queue.release(database, first.lease)
    elif end == "crash":
        assert await fail_task(database, first.lease, Blame.CRASH, "gave_up") == Retry(0.0)
    else:
        await expire_lease(database, first.lease.task_id)
        assert (await task_queue.rescue(database, jitter=0.0, lease_seconds=0)).again == 1
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.frames_done) == ("running", 3)
    with pytest.raises(LeaseLost):
        await task_queue.publish_segment(database, first.lease, key="late", frames=10)
    retried = await claim_one(database)
    assert (retried.segment, retried.lease.attempt) == (SEGMENTS[0], 2)


async def test_failed_segment_ends_the_extraction_and_its_siblings(database: AsyncEngine) -> None:
    accepted, _ = await accept_and_split(database)
    first, second, _ = await claim_segments(database)
    await task_queue.publish_segment(database, second.lease, key="segment-1", frames=10)
    assert await fail_task(database, first.lease, Blame.FILE, "undecodable") == GiveUp("undecodable")
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "failed"
    states = await database_rows.fetch_one(
        database, "SELECT array_agg(state::text ORDER BY segment_number) AS all FROM tasks WHERE kind = 'segment'"
    )
    assert states.all == ["failed", "done", "cancelled"]
    assert await share_and_real_open(database, accepted.user_id) == (0, 0)


async def test_concurrent_ends_of_siblings_never_deadlock(database: AsyncEngine) -> None:
    for _ in range(20):
        accepted, _ = await accept_and_split(database)
        first, second, third = await claim_segments(database)

        async def cancel(extraction_id: UUID = accepted.extraction_id) -> bool:
            async with database.begin() as connection:
                return await task_queue.cancel(connection, extraction_id)

        outcomes = await asyncio.gather(
            fail_task(database, first.lease, Blame.FILE, "undecodable"),
            fail_task(database, second.lease, Blame.FILE, "undecodable"),
            task_queue.publish_segment(database, third.lease, key="p", frames=1),
            cancel(),
            return_exceptions=True,
        )
        assert all(not isinstance(outcome, Exception) or isinstance(outcome, LeaseLost) for outcome in outcomes)
        ends = [outcome for outcome in outcomes if isinstance(outcome, GiveUp) or outcome is True]
        assert len(ends) == 1
        assert await share_and_real_open(database, accepted.user_id) == (0, 0)


async def test_cancel_during_split_leaves_no_segment(database: AsyncEngine) -> None:
    for _ in range(20):
        accepted = await database_rows.accept_video(database)
        lease = (await claim_one(database)).lease

        async def cancel(extraction_id: UUID = accepted.extraction_id) -> bool:
            async with database.begin() as connection:
                return await task_queue.cancel(connection, extraction_id)

        _, cancelled = await asyncio.gather(split_extraction(database, lease), cancel(), return_exceptions=True)
        assert cancelled is True
        assert await task_queue.claim(database, worker="w") == []
        assert await share_and_real_open(database, accepted.user_id) == (0, 0)

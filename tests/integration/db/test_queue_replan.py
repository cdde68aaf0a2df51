"""Replanning a split extraction leaves one task, loses nothing, and charges no work twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queue import fair_queueing, task_queue
from db.queue.replan import MANY, replan
from db.queue.task_queue import Claim, Lease, LeaseLost, Rescued
from db.values.lifecycle import Blame, GiveUp, Retry
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted
from tests.support.state.queue_steps import (
    SEGMENTS,
    accept_and_split,
    accept_many,
    cancel_extraction,
    claim_one,
    claim_segments,
    count_throttled_and_open,
    expire_lease,
    fail_task,
    publish_result,
    segment_number,
    share_and_real_open,
    split_extraction,
)


async def replan_as_other_engine(database: AsyncEngine, lease: Lease, jitter: float = 0.0) -> Retry | GiveUp:
    return await replan(database, lease, plan_engine="auto/before", jitter=jitter)


async def skip_pauses(database: AsyncEngine) -> None:
    """Makes every waiting task ready now."""
    await database_rows.execute(database, "UPDATE tasks SET ready_at = now() WHERE state = 'ready'")


async def claim_assemble_task(database: AsyncEngine) -> tuple[Accepted, Claim]:
    """Splits an extraction, publishes all its segments, and claims its assemble task."""
    accepted, _ = await accept_and_split(database)
    for claim in await claim_segments(database):
        await task_queue.publish_segment(database, claim.lease, key="k", frames=10)
    return accepted, await claim_one(database)


@pytest.mark.usefixtures("long_pauses")
async def test_replan_turns_a_segment_into_the_extract_task_and_ends_its_siblings(database: AsyncEngine) -> None:
    accepted, planning = await accept_and_split(database)
    share = "SELECT owed, last_finish FROM shares WHERE user_id = :user"
    charged = await database_rows.fetch_one(database, share, user=accepted.user_id)
    before = await database_rows.fetch_task(database, planning.task_id)
    first, second, third = await claim_segments(database)
    await task_queue.heartbeat(database, second.lease, frames_done=4)
    await task_queue.publish_segment(database, third.lease, key="segment-2", frames=10)
    assert await replan_as_other_engine(database, first.lease) == Retry(3600.0)
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.frames_done, extraction.plan_key) == ("queued", 0, None)
    for claim_of_old_plan in (first, second, third):
        with pytest.raises(LeaseLost):
            await task_queue.publish_segment(database, claim_of_old_plan.lease, key="late", frames=10)
    assert await share_and_real_open(database, accepted.user_id) == (1, 1)
    assert await task_queue.claim(database, worker="w") == []
    await skip_pauses(database)
    claim = await claim_one(database)
    assert (claim.kind, claim.segment, claim.plan_key, claim.lease.attempt) == ("extract", None, None, 2)
    task = await database_rows.fetch_task(database, claim.lease.task_id)
    kept_columns = ("priority", "virtual_finish", "claimed_at", "cost", "work")
    assert [getattr(task, name) for name in kept_columns] == [getattr(before, name) for name in kept_columns]
    await split_extraction(database, claim.lease, SEGMENTS[:2])
    assert await database_rows.fetch_one(database, share, user=accepted.user_id) == charged
    for claim in await claim_segments(database, 2):
        await task_queue.publish_segment(database, claim.lease, key=f"new-{segment_number(claim)}", frames=10)
    last = await claim_one(database)
    assert last.segment_keys == ("new-0", "new-1")
    await publish_result(database, last.lease)
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "succeeded"
    assert await share_and_real_open(database, accepted.user_id) == (0, 0)
    assert (await database_rows.event_kinds(database, accepted.extraction_id)).count("replanned") == 1


async def test_replan_turns_an_assemble_task_into_the_extract_task(database: AsyncEngine) -> None:
    accepted, claim = await claim_assemble_task(database)
    await replan_as_other_engine(database, claim.lease)
    await skip_pauses(database)
    claim = await claim_one(database)
    assert (claim.kind, claim.extraction_id) == ("extract", accepted.extraction_id)
    await publish_result(database, claim.lease)
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "succeeded"


async def test_replan_raises_the_attempt_above_all_earlier_attempts(database: AsyncEngine) -> None:
    await accept_and_split(database)
    first, second, _ = await claim_segments(database)
    for _ in range(3):
        await task_queue.release(database, first.lease)
        first = await claim_one(database)
    assert first.lease.attempt == 4
    await replan_as_other_engine(database, second.lease)
    await skip_pauses(database)
    assert (await claim_one(database)).lease.attempt == 5


async def test_replan_frees_slots_for_throttled_tasks(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    await fair_queueing.set_share(database, user, running_limit=2)
    await database_rows.accept_video(database, user)
    await split_extraction(database, (await claim_one(database)).lease)
    await accept_many(database, user, 2)
    pair = await claim_segments(database, 2)
    assert await count_throttled_and_open(database, user) == (3, 2)
    await replan_as_other_engine(database, pair[0].lease)
    assert await count_throttled_and_open(database, user) == (1, 2)
    assert await share_and_real_open(database, user) == (2, 2)
    assert await fair_queueing.admit_throttled(database) == 0


async def test_extract_task_is_not_replanned(database: AsyncEngine) -> None:
    await database_rows.accept_video(database)
    claim = await claim_one(database)
    with pytest.raises(LeaseLost):
        await replan_as_other_engine(database, claim.lease)
    await publish_result(database, claim.lease)


async def test_repeated_replans_wait_longer_and_end_after_a_day(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    delays = []
    for _ in range(MANY):
        await split_extraction(database, (await claim_one(database)).lease, SEGMENTS[:1])
        outcome = await replan_as_other_engine(database, (await claim_one(database)).lease)
        assert isinstance(outcome, Retry)
        delays.append(outcome.delay_seconds)
        await skip_pauses(database)
        # The time since the first replan alone is no reason to give up: rollouts may be days apart.
        if len(delays) < MANY:
            await database_rows.execute(
                database, "UPDATE events SET at = at - interval '2 days' WHERE kind = 'replanned'"
            )
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays == sorted(delays)
    assert max(delays) == 150.0
    await split_extraction(database, (await claim_one(database)).lease, SEGMENTS[:2])
    assert await replan_as_other_engine(database, (await claim_one(database)).lease) == GiveUp("service_failed")
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.error_code) == ("failed", "service_failed")
    assert await share_and_real_open(database, accepted.user_id) == (0, 0)
    assert (await database_rows.fetch_one(database, "SELECT count(*) AS n FROM outbox")).n == 1


@pytest.mark.parametrize("concurrent", ["replan", "cancel", "rescue"])
async def test_replan_with_concurrent_sibling_ends_has_one_outcome(database: AsyncEngine, concurrent: str) -> None:
    for _ in range(10):
        accepted, _ = await accept_and_split(database)
        first, second, third = await claim_segments(database)
        concurrent_calls: dict[str, Callable[[], Awaitable[object]]] = {
            "replan": partial(replan_as_other_engine, database, second.lease),
            "cancel": partial(cancel_extraction, database, accepted.extraction_id),
            "rescue": partial(rescue, database, second.lease.task_id),
        }
        outcomes = await asyncio.gather(
            replan_as_other_engine(database, first.lease),
            task_queue.publish_segment(database, third.lease, key="p", frames=1),
            concurrent_calls[concurrent](),
            return_exceptions=True,
        )
        assert all(not isinstance(outcome, Exception) or isinstance(outcome, LeaseLost) for outcome in outcomes), (
            outcomes
        )
        replanned = sum(isinstance(outcome, Retry) for outcome in outcomes)
        extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
        open_tasks = int(concurrent != "cancel")
        assert extraction.status == ("cancelled" if concurrent == "cancel" else "queued")
        assert replanned <= 1 if concurrent == "cancel" else replanned == 1
        assert await share_and_real_open(database, accepted.user_id) == (open_tasks, open_tasks)
        if open_tasks:
            await skip_pauses(database)
            await fail_task(database, (await claim_one(database)).lease, Blame.FILE, "undecodable")


async def rescue(database: AsyncEngine, task_id: UUID) -> Rescued:
    await expire_lease(database, task_id)
    return await task_queue.rescue(database, jitter=0.0, lease_seconds=0)

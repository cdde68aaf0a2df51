"""A split extraction that is planned anew: one task is left of it, nothing is lost, doubled or charged twice."""

from __future__ import annotations

import asyncio

import pytest

from db.queue import fair_queueing, task_queue
from db.queue.replan import MANY, replan
from db.queue.task_queue import LeaseLost
from db.values.lifecycle import Blame, GiveUp, Retry
from tests.integration.db.test_queue import PUBLICATION, claim_one, expire, fail
from tests.integration.db.test_queue_fairness import accept_many, cancel, states
from tests.integration.db.test_queue_split import PARTS, open_and_counted, planned, segments, split
from tests.support import database_rows


async def again(engine, lease, jitter=0.0):
    return await replan(engine, lease, made_by="auto/before", jitter=jitter)


async def ready_now(engine):
    await database_rows.change(engine, "UPDATE tasks SET ready_at = now() WHERE state = 'ready'")


async def assembling(engine):
    accepted, _ = await planned(engine)
    for claim in await segments(engine):
        await task_queue.publish_segment(engine, claim.lease, key="k", frames=10)
    return accepted, await claim_one(engine)


async def test_a_segment_becomes_the_planning_task_and_its_siblings_are_lost(engine):
    accepted, planning = await planned(engine)
    share = "SELECT owed, last_finish FROM shares WHERE user_id = :user"
    charged = await database_rows.one(engine, share, user=accepted.user_id)
    before = await database_rows.task(engine, planning.task_id)
    first, second, third = await segments(engine)
    await task_queue.heartbeat(engine, second.lease, frames_done=4)
    await task_queue.publish_segment(engine, third.lease, key="part-2", frames=10)
    assert await again(engine, first.lease) == Retry(0.5)
    extraction = await database_rows.extraction(engine, accepted.extraction_id)
    assert (extraction.status, extraction.frames_done, extraction.plan_key) == ("queued", 0, None)
    for lost in (first, second, third):
        with pytest.raises(LeaseLost):
            await task_queue.publish_segment(engine, lost.lease, key="late", frames=10)
    assert await open_and_counted(engine, accepted.user_id) == (1, 1)
    assert await task_queue.claim(engine, worker="w") == []
    await ready_now(engine)
    claim = await claim_one(engine)
    assert (claim.kind, claim.part, claim.plan_key, claim.lease.attempt) == ("extract", None, None, 2)
    task = await database_rows.task(engine, claim.lease.task_id)
    same = ("priority", "virtual_finish", "claimed_at", "cost", "work")
    assert [getattr(task, name) for name in same] == [getattr(before, name) for name in same]
    await split(engine, claim.lease, PARTS[:2])
    assert await database_rows.one(engine, share, user=accepted.user_id) == charged
    for claim in await segments(engine, 2):
        await task_queue.publish_segment(engine, claim.lease, key=f"new-{claim.part.number}", frames=10)
    last = await claim_one(engine)
    assert last.parts == ("new-0", "new-1")
    await task_queue.publish(engine, last.lease, PUBLICATION)
    assert (await database_rows.extraction(engine, accepted.extraction_id)).status == "succeeded"
    assert await open_and_counted(engine, accepted.user_id) == (0, 0)
    assert (await database_rows.events(engine, accepted.extraction_id)).count("replanned") == 1


async def test_an_assembling_task_becomes_the_planning_one(engine):
    accepted, claim = await assembling(engine)
    await again(engine, claim.lease)
    await ready_now(engine)
    claim = await claim_one(engine)
    assert (claim.kind, claim.extraction_id) == ("extract", accepted.extraction_id)
    await task_queue.publish(engine, claim.lease, PUBLICATION)
    assert (await database_rows.extraction(engine, accepted.extraction_id)).status == "succeeded"


async def test_the_attempt_rises_above_all_that_the_extraction_has_had(engine):
    await planned(engine)
    first, second, _ = await segments(engine)
    for _ in range(3):
        await task_queue.release(engine, first.lease)
        first = await claim_one(engine)
    assert first.lease.attempt == 4
    await again(engine, second.lease)
    await ready_now(engine)
    assert (await claim_one(engine)).lease.attempt == 5


async def test_the_slots_of_the_others_are_used_by_what_was_held(engine):
    user = await database_rows.user(engine)
    await fair_queueing.set_share(engine, user, running_limit=2)
    await database_rows.accepted(engine, user)
    await split(engine, (await claim_one(engine)).lease)
    await accept_many(engine, user, 2)
    pair = await segments(engine, 2)
    assert await states(engine, user) == (3, 2)
    await again(engine, pair[0].lease)
    assert await states(engine, user) == (1, 2)
    assert await open_and_counted(engine, user) == (2, 2)
    assert await fair_queueing.release_held(engine) == 0


async def test_a_planning_task_is_not_planned_anew(engine):
    await database_rows.accepted(engine)
    claim = await claim_one(engine)
    with pytest.raises(LeaseLost):
        await again(engine, claim.lease)
    await task_queue.publish(engine, claim.lease, PUBLICATION)


async def test_each_time_it_waits_longer_and_a_day_of_many_ends_it(engine):
    accepted = await database_rows.accepted(engine)
    delays = []
    for _ in range(MANY):
        await split(engine, (await claim_one(engine)).lease, PARTS[:1])
        outcome = await again(engine, (await claim_one(engine)).lease)
        delays.append(outcome.delay_seconds)
        await ready_now(engine)
        # Since the first is not enough: rollouts may be days apart.
        if len(delays) < MANY:
            await database_rows.change(engine, "UPDATE events SET at = at - interval '2 days' WHERE kind = 'replanned'")
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays == sorted(delays)
    assert max(delays) == 150.0
    await split(engine, (await claim_one(engine)).lease, PARTS[:2])
    assert await again(engine, (await claim_one(engine)).lease) == GiveUp("service_failed")
    extraction = await database_rows.extraction(engine, accepted.extraction_id)
    assert (extraction.status, extraction.error_code) == ("failed", "service_failed")
    assert await open_and_counted(engine, accepted.user_id) == (0, 0)
    assert (await database_rows.one(engine, "SELECT count(*) AS n FROM outbox")).n == 1


@pytest.mark.parametrize("how", ["replan", "cancel", "rescue"])
async def test_siblings_that_end_in_every_way_meanwhile_leave_one_outcome(engine, how):
    for _ in range(10):
        accepted, _ = await planned(engine)
        first, second, third = await segments(engine)
        also = {
            "replan": lambda lease=second.lease: again(engine, lease),
            "cancel": lambda extraction_id=accepted.extraction_id: cancel(engine, extraction_id),
            "rescue": lambda task_id=second.lease.task_id: rescue(engine, task_id),
        }
        outcomes = await asyncio.gather(
            again(engine, first.lease),
            task_queue.publish_segment(engine, third.lease, key="p", frames=1),
            also[how](),
            return_exceptions=True,
        )
        assert all(not isinstance(each, Exception) or isinstance(each, LeaseLost) for each in outcomes), outcomes
        replanned = sum(isinstance(outcome, Retry) for outcome in outcomes)
        extraction = await database_rows.extraction(engine, accepted.extraction_id)
        open_tasks = int(how != "cancel")
        assert extraction.status == ("cancelled" if how == "cancel" else "queued")
        assert replanned <= 1 if how == "cancel" else replanned == 1
        assert await open_and_counted(engine, accepted.user_id) == (open_tasks, open_tasks)
        if open_tasks:
            await ready_now(engine)
            await fail(engine, (await claim_one(engine)).lease, Blame.FILE, "undecodable")


async def rescue(engine, task_id):
    await expire(engine, task_id)
    return await task_queue.rescue(engine, jitter=0.0, lease_seconds=0)

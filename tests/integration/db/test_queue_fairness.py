"""Fair queueing: claims follow weights, the running limit holds, and no task is throttled while a slot is free."""

import asyncio
import os
from contextlib import suppress
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db import videos
from db.acceptance import accept, object_reservations
from db.queue import fair_queueing, task_queue
from db.queue.task_queue import Claim
from db.values.lifecycle import Blame
from db.values.segment import Segment
from tests.support.state import database_rows
from tests.support.state.queue_steps import (
    accept_many,
    cancel_extraction,
    claim_one,
    count_throttled_and_open,
    fail_task,
    publish_result,
    share_and_real_open,
)

BACKLOG = 10_000


THROTTLED_BACKLOG = BACKLOG if os.environ.get("FOTOGRAMA_FAULTS") == "full" else 1000


async def accept_in_batches(database: AsyncEngine, user_id: UUID, count: int, batch: int = 250) -> None:
    """Accepts many videos of one account in few transactions."""
    for _ in range(count // batch):
        async with database.begin() as connection:
            uploads = [database_rows.make_upload(user_id) for _ in range(batch)]
            reserved = [{"object_key": upload.object_key, "user_id": user_id} for upload in uploads]
            await connection.execute(object_reservations.RESERVE, reserved)
            await accept.accept(connection, uploads)


async def finish_next(database: AsyncEngine) -> Claim:
    claim = await claim_one(database)
    await publish_result(database, claim.lease)
    return claim


@pytest.mark.parametrize(("limit", "backlog"), [(3, THROTTLED_BACKLOG), (100_000, BACKLOG)])
async def test_small_accounts_are_not_delayed_by_one_accounts_backlog(
    database: AsyncEngine, limit: int, backlog: int
) -> None:
    await fair_queueing.set_running_limit(database, limit)
    large_account = await database_rows.create_user(database)
    await accept_in_batches(database, large_account, backlog)
    assert await count_throttled_and_open(database, large_account) == (max(0, backlog - limit), min(backlog, limit))
    await finish_next(database)
    small_extractions = {(await database_rows.accept_video(database)).extraction_id for _ in range(20)}
    order = [(await finish_next(database)).extraction_id for _ in range(40)]
    worst_place = max(place for place, extraction_id in enumerate(order, 1) if extraction_id in small_extractions)
    assert small_extractions <= set(order)
    assert worst_place <= len(small_extractions) + 2


async def test_claims_are_proportional_to_weight(database: AsyncEngine) -> None:
    heavy, light = (
        await database_rows.create_user(database),
        await database_rows.create_user(database, "bob@example.com"),
    )
    assert await fair_queueing.set_share(database, heavy, weight=3.0, running_limit=None)
    heavy_extractions = {accepted.extraction_id for accepted in await accept_many(database, heavy, 30)}
    await accept_many(database, light, 30)
    claimed = [(await finish_next(database)).extraction_id for _ in range(20)]
    assert 14 <= sum(extraction_id in heavy_extractions for extraction_id in claimed) <= 16


async def test_extraction_of_an_administrator_is_claimed_first(database: AsyncEngine) -> None:
    await database_rows.accept_video(database)
    admin = await database_rows.create_user(database)
    await database_rows.execute(database, "UPDATE users SET role = 'admin' WHERE id = :id", id=admin)
    accepted = await database_rows.accept_video(database, admin)
    assert (await claim_one(database)).extraction_id == accepted.extraction_id


async def test_planned_work_is_charged_once_to_the_next_task(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    first = await database_rows.accept_video(database, user)
    media = {"width": 800, "height": 100}
    claim = await claim_one(database)
    for _ in range(2):
        await task_queue.plan(database, claim.lease, media=media, frames_total=5)
    second = await database_rows.accept_video(database, user)
    virtual_finishes = [
        (await database_rows.fetch_task(database, accepted.task_id)).virtual_finish for accepted in (first, second)
    ]
    assert fair_queueing.work_of(media, 5) == 5000
    assert virtual_finishes == [1000.0, 1000.0 + 1000 + (5000 - 1000)]


async def test_open_tasks_never_exceed_the_running_limit(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    await fair_queueing.set_share(database, user, weight=1.0, running_limit=2)
    accepted_videos = await accept_many(database, user, 5)
    assert await count_throttled_and_open(database, user) == (3, 2)
    claims = await task_queue.claim(database, worker="w", limit=10)
    assert [claim.extraction_id for claim in claims] == [accepted.extraction_id for accepted in accepted_videos[:2]]
    await task_queue.release(database, claims[0].lease)
    assert await count_throttled_and_open(database, user) == (3, 2)


@pytest.mark.parametrize("end", ["publish", "fail", "cancel", "delete", "cancel a throttled one"])
async def test_every_end_admits_the_next_throttled_task(database: AsyncEngine, end: str) -> None:
    user = await database_rows.create_user(database)
    await fair_queueing.set_share(database, user, weight=1.0, running_limit=1)
    first, second, third = await accept_many(database, user, 3)
    lease = (await claim_one(database)).lease
    if end == "publish":
        await publish_result(database, lease)
    elif end == "fail":
        await fail_task(database, lease, Blame.FILE, "no_frames")
    elif end == "cancel":
        await cancel_extraction(database, first.extraction_id)
    elif end == "delete":
        assert await videos.delete(database, user, first.video_id)
    else:
        await cancel_extraction(database, second.extraction_id)
        assert await count_throttled_and_open(database, user) == (1, 1)
        await publish_result(database, lease)
    assert await count_throttled_and_open(database, user) == ((0, 1) if end == "cancel a throttled one" else (1, 1))
    expected = third if end == "cancel a throttled one" else second
    assert (await claim_one(database)).extraction_id == expected.extraction_id
    assert await share_and_real_open(database, user) == (1, 1)


async def test_segments_respect_the_running_limit_and_all_are_claimed(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    await fair_queueing.set_share(database, user, weight=1.0, running_limit=2)
    await database_rows.accept_video(database, user)
    lease = (await claim_one(database)).lease
    segments = [Segment(n, n, n + 1, 1) for n in range(6)]
    await task_queue.split(database, lease, media={}, frames_total=6, plan_key="p", segments=segments)
    for _ in segments:
        throttled_and_open = await count_throttled_and_open(database, user)
        assert throttled_and_open[1] <= 2
        await task_queue.publish_segment(database, (await claim_one(database)).lease, key="k", frames=1)
    await publish_result(database, (await claim_one(database)).lease)


async def test_concurrent_accept_cancel_and_end_leave_no_task_throttled(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    await fair_queueing.set_share(database, user, weight=1.0, running_limit=1)
    for _ in range(15):
        accepted_videos = await accept_many(database, user, 3)

        async def perform_claimed() -> None:
            for claim in await task_queue.claim(database, worker="w"):
                with suppress(task_queue.LeaseLost):  # the claimed extraction may be cancelled
                    await publish_result(database, claim.lease)

        await asyncio.gather(
            perform_claimed(),
            cancel_extraction(database, accepted_videos[1].extraction_id),
            database_rows.accept_video(database, user),
            perform_claimed(),
        )
        # Each end admits the next throttled task. No maintenance is needed.
        while (await count_throttled_and_open(database, user))[1]:
            await finish_next(database)
        assert await count_throttled_and_open(database, user) == (0, 0)
        assert await fair_queueing.admit_throttled(database) == 0


async def test_maintenance_admits_tasks_after_the_limit_is_raised(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    await fair_queueing.set_running_limit(database, 1)
    await accept_many(database, user, 4)
    await fair_queueing.set_running_limit(database, 3)
    assert await fair_queueing.admit_throttled(database) == 2
    assert await count_throttled_and_open(database, user) == (1, 3)


async def test_queue_position_equals_the_claim_order_with_throttled_tasks(
    database: AsyncEngine,
) -> None:
    user = await database_rows.create_user(database)
    await fair_queueing.set_share(database, user, weight=1.0, running_limit=1)
    limited = await accept_many(database, user, 3)
    other = await database_rows.accept_video(database)
    ids = [accepted.extraction_id for accepted in [*limited, other]]
    rows = await videos.read_rows(database, ids)
    queue_positions = {
        extraction_id: position
        for extraction_id in ids
        if (position := rows[extraction_id].extraction.queue_position) is not None
    }
    claimed = [(await finish_next(database)).extraction_id for _ in ids]
    assert sorted(ids, key=lambda extraction_id: queue_positions[extraction_id]) == claimed
    assert sorted(queue_positions.values()) == [1, 2, 3, 4]


async def test_virtual_time_does_not_decrease_when_claimed_tasks_are_deleted(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    accepted_videos = await accept_many(database, user, 3)
    for accepted in accepted_videos:
        await finish_next(database)
        await videos.delete(database, user, accepted.video_id)
    first_of_another = await database_rows.accept_video(database)
    assert (await database_rows.fetch_task(database, first_of_another.task_id)).virtual_finish == 4000.0

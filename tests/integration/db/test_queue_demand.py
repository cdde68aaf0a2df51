"""What the queue asks of the workers."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queue import fair_queueing, queue_demand, task_queue
from db.queue.queue_demand import QueueDemand
from db.values.lifecycle import Blame
from db.values.worker_kind import WorkerKind
from tests.support.state import database_rows
from tests.support.state.queue_steps import accept_and_split, accept_many, claim_one, fail_task

PIXELS_PER_SECOND, SEGMENT_SECONDS = 1000.0, 100.0


async def demand(database: AsyncEngine) -> QueueDemand:
    """Of CPU workers: without a GPU pool all work is theirs."""
    by_kind = await queue_demand.demand(database, pixels_per_second=PIXELS_PER_SECOND, segment_seconds=SEGMENT_SECONDS)
    assert by_kind[WorkerKind.GPU] == QueueDemand()
    return by_kind[WorkerKind.CPU]


async def test_empty_queue_asks_for_nothing(database: AsyncEngine) -> None:
    assert await demand(database) == QueueDemand()


async def test_ready_videos_are_counted_with_the_time_that_their_bytes_take(database: AsyncEngine) -> None:
    accepted = [await database_rows.accept_video(database) for _ in range(3)]
    sizes = [(await database_rows.fetch_task(database, one.task_id)).cost for one in accepted]
    await claim_one(database)
    found = await demand(database)
    assert (found.ready, found.running) == (2, 1)
    assert found.ready_seconds == pytest.approx(sum(sizes[1:]) * fair_queueing.PIXELS_PER_BYTE / PIXELS_PER_SECOND)


async def test_segments_are_counted_with_the_time_of_a_segment(database: AsyncEngine) -> None:
    await accept_and_split(database)
    found = await demand(database)
    assert (found.ready, found.ready_seconds, found.running) == (3, 3 * SEGMENT_SECONDS, 0)


async def test_age_is_that_of_the_task_that_has_been_ready_longest(database: AsyncEngine) -> None:
    first = await database_rows.accept_video(database)
    await database_rows.accept_video(database)
    await database_rows.execute(
        database, "UPDATE tasks SET ready_at = ready_at - interval '50 s' WHERE id = :id", id=first.task_id
    )
    assert 50 <= (await demand(database)).oldest_seconds < 60


@pytest.mark.usefixtures("long_pauses")
async def test_tasks_that_no_worker_may_claim_ask_for_no_worker(database: AsyncEngine) -> None:
    """Those past their account's limit, and those whose next try is in the future."""
    user = (await database_rows.accept_video(database)).user_id
    await fail_task(database, (await claim_one(database)).lease, Blame.SERVICE)
    await fair_queueing.set_running_limit(database, 2)
    await accept_many(database, user, 5)
    found = await demand(database)
    # The task whose next try is in the future is open as well.
    assert (found.ready, found.running) == (1, 0)


async def test_released_task_is_ready_again(database: AsyncEngine) -> None:
    await database_rows.accept_video(database)
    await task_queue.release(database, (await claim_one(database)).lease)
    found = await demand(database)
    assert (found.ready, found.running) == (1, 0)

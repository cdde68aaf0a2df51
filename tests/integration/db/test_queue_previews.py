"""Previews in the queue: only the present attempt tells one, and it goes with the attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db import videos
from db.queue import task_queue
from db.queue.replan import replan
from db.queue.task_queue import Claim, LeaseLost, Preview
from db.values.lifecycle import Blame
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted
from tests.support.state.queue_steps import (
    accept_and_split,
    cancel_extraction,
    claim_one,
    claim_segments,
    expire_lease,
    fail_task,
    publish_result,
)


async def shown_preview(database: AsyncEngine, accepted: Accepted) -> tuple[str | None, int | None, int | None]:
    """What the API shows: the key, the number of images, the segment."""
    row = (await videos.read_rows(database, [accepted.extraction_id]))[accepted.extraction_id].extraction
    return row.preview_key, row.preview_frames, row.preview_segment


async def version_of(database: AsyncEngine, accepted: Accepted) -> int:
    return int((await database_rows.fetch_extraction(database, accepted.extraction_id)).version)


async def claim_with_preview(database: AsyncEngine) -> tuple[Accepted, Claim]:
    accepted = await database_rows.accept_video(database)
    claim = await claim_one(database)
    await task_queue.plan(database, claim.lease, media={}, frames_total=9)
    await task_queue.heartbeat(database, claim.lease, frames_done=4, preview=Preview("p/4", 4))
    return accepted, claim


async def test_heartbeat_tells_a_preview_and_keeps_it_until_there_is_a_newer_one(database: AsyncEngine) -> None:
    accepted, claim = await claim_with_preview(database)
    assert await shown_preview(database, accepted) == ("p/4", 4, None)
    before = await version_of(database, accepted)
    await task_queue.heartbeat(database, claim.lease, frames_done=4)
    await task_queue.heartbeat(database, claim.lease, frames_done=4, preview=Preview("p/4", 4))
    assert (await shown_preview(database, accepted), await version_of(database, accepted)) == (("p/4", 4, None), before)
    await task_queue.heartbeat(database, claim.lease, frames_done=4, preview=Preview("p/6", 6))
    assert await shown_preview(database, accepted) == ("p/6", 6, None)
    assert await version_of(database, accepted) == before + 1


async def _rescue(database: AsyncEngine, claim: Claim) -> None:
    await expire_lease(database, claim.lease.task_id)
    assert (await task_queue.rescue(database, jitter=0.0, lease_seconds=0)).again == 1


ENDS: dict[str, Callable[[AsyncEngine, Claim], Awaitable[object]]] = {
    "release": lambda database, claim: task_queue.release(database, claim.lease),
    "release of all": lambda database, claim: task_queue.release_all(database, claim.lease.worker),
    "crash": lambda database, claim: fail_task(database, claim.lease, Blame.CRASH, "gave_up"),
    "rescue": _rescue,
    "failure": lambda database, claim: fail_task(database, claim.lease, Blame.FILE, "undecodable"),
    "cancellation": lambda database, claim: cancel_extraction(database, claim.extraction_id),
    "publication": lambda database, claim: publish_result(database, claim.lease),
}


@pytest.mark.parametrize("end", ENDS)
async def test_preview_goes_with_its_attempt_and_a_lost_one_tells_none(database: AsyncEngine, end: str) -> None:
    accepted, claim = await claim_with_preview(database)
    await ENDS[end](database, claim)
    assert await shown_preview(database, accepted) == (None, None, None)
    assert (await database_rows.fetch_task(database, accepted.task_id)).preview_key is None
    with pytest.raises(LeaseLost):
        await task_queue.heartbeat(database, claim.lease, frames_done=5, preview=Preview("late", 5))
    for _ in await task_queue.claim(database, worker="w2"):
        with pytest.raises(LeaseLost):
            await task_queue.heartbeat(database, claim.lease, frames_done=5, preview=Preview("late", 5))
    assert await shown_preview(database, accepted) == (None, None, None)


async def test_split_extraction_shows_its_last_segment_with_a_preview_also_when_it_is_published(
    database: AsyncEngine,
) -> None:
    accepted, _ = await accept_and_split(database)
    first, second, third = await claim_segments(database)
    await task_queue.heartbeat(database, second.lease, frames_done=3, preview=Preview("b/3", 3))
    await task_queue.heartbeat(database, first.lease, frames_done=5, preview=Preview("a/5", 5))
    assert await shown_preview(database, accepted) == ("b/3", 3, 1)
    await task_queue.publish_segment(database, second.lease, key="segment-1", frames=10)
    assert await shown_preview(database, accepted) == ("b/3", 3, 1)
    await task_queue.heartbeat(database, third.lease, frames_done=1, preview=Preview("c/1", 1))
    assert await shown_preview(database, accepted) == ("c/1", 1, 2)
    await task_queue.release(database, third.lease)
    assert await shown_preview(database, accepted) == ("b/3", 3, 1)
    await fail_task(database, first.lease, Blame.FILE, "undecodable")
    assert await shown_preview(database, accepted) == (None, None, None)


async def test_replanned_extraction_shows_no_preview_of_the_old_plan(database: AsyncEngine) -> None:
    accepted, _ = await accept_and_split(database)
    first, second, third = await claim_segments(database)
    for claim in (first, second):
        await task_queue.heartbeat(database, claim.lease, frames_done=3, preview=Preview(f"{claim.segment}/3", 3))
    await task_queue.publish_segment(database, third.lease, key="segment-2", frames=10)
    await replan(database, first.lease, plan_engine="auto/before", jitter=0.0)
    await database_rows.execute(database, "UPDATE tasks SET ready_at = now()")
    assert (await claim_one(database)).kind == "extract"
    assert await shown_preview(database, accepted) == (None, None, None)

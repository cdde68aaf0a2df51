"""Rows of races between queue functions: winners and lock waits."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from db.acceptance import accept, object_reservations
from db.acceptance.accept import Upload
from db.object_store.object_keys import video_key
from db.queue import task_queue
from db.queue.task_queue import LeaseLost
from db.values.segment import Segment
from tests.faults.injection.concurrent_calls import LOCKS, run_concurrently
from tests.faults.row_outcome import Outcome
from tests.faults.rows.queue_harness import claim_one, count_outcomes, expire_lease, fetch_number, queue_database
from tests.support.state import database_rows
from tests.support.state.queue_steps import publish_result

FULL_RACES, SHORT_RACES = 1000, 50
LONGEST_PAUSE_SECONDS = 0.004
SEGMENTS = (Segment(0, 0, 2, 10), Segment(1, 2, 3, 10))
BATCH = 500
UNLOCKED_EVERY = 4
"""One of this many interleavings runs without a lock."""
FIRST = {5: 0, 13: 1, 6: 0, 14: 1}
"""Of 16 interleavings, those in which one call is the first at its lock: each call at each lock. On some machines the
same call comes first in all others.
"""


@dataclass(frozen=True, slots=True)
class Interleaving:
    """How the two calls of a race start. pauses: in seconds. lock: a lock for which both wait first, or None. first:
    the call that waits before the other one starts; None: whichever comes first.
    """

    pauses: tuple[float, float]
    lock: str | None
    first: int | None


@dataclass(frozen=True, slots=True)
class RaceResult:
    """Which call won, and whether both were seen inside their transactions at once."""

    extraction_id: UUID
    first_won: bool
    second_won: bool
    overlapped: bool


def interleavings(full: bool) -> Iterator[Interleaving]:
    """All interleavings of a race."""
    rng = random.Random(7)
    for number in range(FULL_RACES if full else SHORT_RACES):
        pauses = (rng.random() * LONGEST_PAUSE_SECONDS, rng.random() * LONGEST_PAUSE_SECONDS)
        lock = None if number % UNLOCKED_EVERY == 0 else LOCKS[number % len(LOCKS)]
        yield Interleaving(pauses, lock, FIRST.get(number % 16))


async def rescue_races_publish(full: bool, folder: Path) -> Outcome:
    """An expired lease is rescued while its worker publishes."""

    async def race(database: AsyncEngine, interleaving: Interleaving) -> RaceResult:
        accepted = await database_rows.accept_video(database)
        lease = (await claim_one(database, "late")).lease
        await expire_lease(database, lease)
        concurrent = await run_concurrently(
            database,
            accepted.extraction_id,
            lambda: publish_result(database, lease),
            lambda: task_queue.rescue(database, jitter=0.0, lease_seconds=0),
            pauses=interleaving.pauses,
            lock=interleaving.lock,
            first=interleaving.first,
        )
        published, rescued = concurrent.results
        assert isinstance(published, LeaseLost | None), published
        assert isinstance(rescued, task_queue.Rescued), rescued
        if rescued.again:
            await publish_result(database, (await claim_one(database, "rescuer")).lease)
        return RaceResult(accepted.extraction_id, published is None, bool(rescued.again), concurrent.overlapped)

    return await _repeat_race(full, folder, race, name="Rescue races publish", second="rescue", ends=("succeeded",))


async def cancel_races_publish(full: bool, folder: Path) -> Outcome:
    """A user cancels while the worker publishes."""

    async def race(database: AsyncEngine, interleaving: Interleaving) -> RaceResult:
        accepted = await database_rows.accept_video(database)
        lease = (await claim_one(database)).lease

        async def cancel() -> bool:
            async with database.begin() as connection:
                return await task_queue.cancel(connection, accepted.extraction_id)

        concurrent = await run_concurrently(
            database,
            accepted.extraction_id,
            lambda: publish_result(database, lease),
            cancel,
            pauses=interleaving.pauses,
            lock=interleaving.lock,
            first=interleaving.first,
        )
        published, cancelled = concurrent.results
        assert isinstance(published, LeaseLost | None), published
        assert isinstance(cancelled, bool), cancelled
        status = (await database_rows.fetch_extraction(database, accepted.extraction_id)).status
        assert status == ("cancelled" if cancelled else "succeeded"), status
        return RaceResult(accepted.extraction_id, published is None, cancelled, concurrent.overlapped)

    ends = ("succeeded", "cancelled")
    return await _repeat_race(full, folder, race, name="Cancel races publish", second="cancel", ends=ends)


async def _repeat_race(
    full: bool,
    folder: Path,
    race: Callable[[AsyncEngine, Interleaving], Awaitable[RaceResult]],
    *,
    name: str,
    second: str,
    ends: tuple[str, ...],
) -> Outcome:
    """Runs a race once for each interleaving. second: the name of the second call. ends: the ends that are good."""
    async with queue_database(folder) as database:
        results = [await race(database, interleaving) for interleaving in interleavings(full)]
        counts = await count_outcomes(database, [result.extraction_id for result in results], ends)
    races, first_won = len(results), sum(result.first_won for result in results)
    assert 0 < first_won < races, "the same call won every race"
    return Outcome(
        name=name,
        how=_describe_races(races, sum(result.overlapped for result in results)),
        accepted=races,
        lost=counts.lost + sum(not result.first_won and not result.second_won for result in results),
        duplicated=counts.duplicated,
        stale=max(counts.stale, sum(result.first_won and result.second_won for result in results)),
        note=f"publish won {first_won:,}, {second} {races - first_won:,}",
    )


def _describe_races(races: int, overlapped: int) -> str:
    """Describes the interleavings. Raises AssertionError when a locked one was not seen in both transactions."""
    locked = sum(number % UNLOCKED_EVERY != 0 for number in range(races))
    assert overlapped == locked, f"only {overlapped} of {locked} locked interleavings overlapped"
    return f"{races:,} interleavings from a barrier; in {overlapped:,} both were seen in their transactions at once"


async def last_segments_race(full: bool, folder: Path) -> Outcome:
    """The last two segments of an extraction are published at the same moment."""
    extraction_ids, overlapped, assemble_claims = [], 0, 0
    async with queue_database(folder) as database:
        for interleaving in interleavings(full):
            extraction_ids.append((await database_rows.accept_video(database)).extraction_id)
            overlapped += await _publish_both(database, extraction_ids[-1], interleaving)
            claims = await task_queue.claim(database, worker="assembler", limit=10)
            assemble_claims += len(claims)
            for claim in claims:
                assert claim.segment_keys == ("results/0", "results/1"), claim.segment_keys
                await publish_result(database, claim.lease)
        counts = await count_outcomes(database, extraction_ids)
        assemble_tasks = await fetch_number(database, "SELECT count(*) FROM tasks WHERE kind = 'assemble'")
    return Outcome(
        name="The last two segments race",
        how=_describe_races(len(extraction_ids), overlapped),
        accepted=len(extraction_ids),
        lost=counts.lost,
        duplicated=counts.duplicated + max(assemble_tasks, assemble_claims) - min(len(extraction_ids), assemble_tasks),
        stale=counts.stale,
        note=f"{assemble_tasks:,} assembling tasks",
    )


async def _publish_both(database: AsyncEngine, extraction_id: UUID, interleaving: Interleaving) -> bool:
    """Splits the extraction in two and publishes both segments; returns whether the transactions overlapped."""
    planning = (await claim_one(database)).lease
    await task_queue.split(database, planning, media={}, frames_total=3, plan_key="results/plan", segments=SEGMENTS)
    claims = [await claim_one(database, worker) for worker in ("one", "two")]

    def publish(claim: task_queue.Claim) -> Callable[[], Awaitable[None]]:
        assert claim.segment is not None
        frames, key = claim.segment.stop - claim.segment.first, f"results/{claim.segment.number}"
        return lambda: task_queue.publish_segment(database, claim.lease, key=key, frames=frames)

    calls = (publish(claim) for claim in claims)
    concurrent = await run_concurrently(
        database,
        extraction_id,
        *calls,
        pauses=interleaving.pauses,
        lock=interleaving.lock,
        first=interleaving.first,
    )
    assert concurrent.results == [None, None], concurrent.results
    return concurrent.overlapped


async def unequal_users(full: bool, folder: Path) -> Outcome:
    """One user has very many videos, then 20 users submit one video each; one worker claims task after task."""
    crowd_videos, small_users = 10_000 if full else 500, 20
    async with queue_database(folder) as database:
        crowd = await database_rows.create_user(database, "crowd@example.com")
        crowd_extractions = await _accept_many(database, crowd, crowd_videos)
        await publish_result(database, (await claim_one(database)).lease)
        small_extractions = {(await database_rows.accept_video(database)).extraction_id for _ in range(small_users)}
        waiting, place = set(small_extractions), 0
        worst_place = 0
        while waiting and place < crowd_videos + small_users:
            claim = await claim_one(database)
            place += 1
            if claim.extraction_id in waiting:
                waiting.remove(claim.extraction_id)
                worst_place = place
            await publish_result(database, claim.lease)
        while claims := await task_queue.claim(database, worker="worker", limit=50):
            for claim in claims:
                await publish_result(database, claim.lease)
        counts = await count_outcomes(database, [*crowd_extractions, *small_extractions])
    users = small_users + 1
    assert worst_place <= users + 2, f"a small user waited {worst_place} places"
    return Outcome(
        name="One user with very many videos",
        how=f"{crowd_videos:,} equal videos of one user, then {small_users} users with one each; queue functions alone",
        accepted=crowd_videos + small_users,
        lost=counts.lost,
        duplicated=counts.duplicated,
        stale=counts.stale,
        note=f"worst place of a small user: {worst_place} (users + 2 = {users + 2})",
    )


async def _accept_many(database: AsyncEngine, user_id: UUID, videos: int) -> list[UUID]:
    extraction_ids: list[UUID] = []
    while len(extraction_ids) < videos:
        uploads = []
        for _ in range(min(BATCH, videos - len(extraction_ids))):
            video_id = uuid7()
            key = video_key(video_id)
            uploads.append(Upload(user_id, video_id, uuid7(), uuid7(), "clip.mp4", 1000, "0" * 64, key, "{}"))
        async with database.begin() as connection:
            reserved = [{"object_key": upload.object_key, "user_id": user_id} for upload in uploads]
            await connection.execute(object_reservations.RESERVE, reserved)
            await accept.accept(connection, uploads)
        extraction_ids += [upload.extraction_id for upload in uploads]
    return extraction_ids

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
from tests.faults.injection.concurrent_calls import LOCKS, meet
from tests.faults.row_outcome import Outcome
from tests.faults.rows.queue_harness import claim_one, count, expire, number, queue_database
from tests.support.state import database_rows
from tests.support.state.queue_steps import publish_result

FULL_RACES, SHORT_RACES = 1000, 50
LONGEST_PAUSE_SECONDS = 0.004
SEGMENTS = (Segment(0, 0, 2, 10), Segment(1, 2, 3, 10))
BATCH = 500
FREE_EACH = 4
"""Every so many-th meeting is not held at a lock."""


@dataclass(frozen=True, slots=True)
class Turn:
    """How the two of one interleaving begin. pauses: seconds. lock: what holds both until both wait, or nothing."""

    pauses: tuple[float, float]
    lock: str | None


@dataclass(frozen=True, slots=True)
class Raced:
    """Which side has won, and whether both were seen inside their transactions at once."""

    extraction_id: UUID
    first_won: bool
    second_won: bool
    overlapped: bool


def turns(full: bool) -> Iterator[Turn]:
    """All interleavings of a race."""
    chance = random.Random(7)
    for turn in range(FULL_RACES if full else SHORT_RACES):
        pauses = (chance.random() * LONGEST_PAUSE_SECONDS, chance.random() * LONGEST_PAUSE_SECONDS)
        yield Turn(pauses, None if turn % FREE_EACH == 0 else LOCKS[turn % len(LOCKS)])


async def rescue_races_publish(full: bool, folder: Path) -> Outcome:
    """A late lease is rescued at the moment in which its holder publishes."""

    async def race(database: AsyncEngine, turn: Turn) -> Raced:
        accepted = await database_rows.accept_video(database)
        lease = (await claim_one(database, "late")).lease
        await expire(database, lease)
        met = await meet(
            database,
            accepted.extraction_id,
            lambda: publish_result(database, lease),
            lambda: task_queue.rescue(database, jitter=0.0, lease_seconds=0),
            pauses=turn.pauses,
            lock=turn.lock,
        )
        published, rescued = met.results
        assert isinstance(published, LeaseLost | None), published
        assert isinstance(rescued, task_queue.Rescued), rescued
        if rescued.again:
            await publish_result(database, (await claim_one(database, "rescuer")).lease)
        return Raced(accepted.extraction_id, published is None, bool(rescued.again), met.overlapped)

    return await _races(full, folder, race, name="Rescue races publish", second="rescue", ends=("succeeded",))


async def cancel_races_publish(full: bool, folder: Path) -> Outcome:
    """A user cancels at the moment in which the worker publishes."""

    async def race(database: AsyncEngine, turn: Turn) -> Raced:
        accepted = await database_rows.accept_video(database)
        lease = (await claim_one(database)).lease

        async def cancel() -> bool:
            async with database.begin() as connection:
                return await task_queue.cancel(connection, accepted.extraction_id)

        met = await meet(
            database,
            accepted.extraction_id,
            lambda: publish_result(database, lease),
            cancel,
            pauses=turn.pauses,
            lock=turn.lock,
        )
        published, cancelled = met.results
        assert isinstance(published, LeaseLost | None), published
        assert isinstance(cancelled, bool), cancelled
        status = (await database_rows.fetch_extraction(database, accepted.extraction_id)).status
        assert status == ("cancelled" if cancelled else "succeeded"), status
        return Raced(accepted.extraction_id, published is None, cancelled, met.overlapped)

    ends = ("succeeded", "cancelled")
    return await _races(full, folder, race, name="Cancel races publish", second="cancel", ends=ends)


async def _races(
    full: bool,
    folder: Path,
    race: Callable[[AsyncEngine, Turn], Awaitable[Raced]],
    *,
    name: str,
    second: str,
    ends: tuple[str, ...],
) -> Outcome:
    """Runs a race of two again and again."""
    async with queue_database(folder) as database:
        made = [await race(database, turn) for turn in turns(full)]
        found = await count(database, [raced.extraction_id for raced in made], ends)
    races, first_won = len(made), sum(raced.first_won for raced in made)
    assert 0 < first_won < races, "one side always came first: nothing raced"
    return Outcome(
        name=name,
        how=_how(races, sum(raced.overlapped for raced in made)),
        accepted=races,
        lost=found.lost + sum(not raced.first_won and not raced.second_won for raced in made),
        duplicated=found.duplicated,
        stale=max(found.stale, sum(raced.first_won and raced.second_won for raced in made)),
        note=f"publish won {first_won:,}, {second} {races - first_won:,}",
    )


def _how(races: int, overlapped: int) -> str:
    """Raises AssertionError when those that were held did not all meet."""
    held = sum(turn % FREE_EACH != 0 for turn in range(races))
    assert overlapped == held, f"{overlapped} of {held} met"
    return f"{races:,} interleavings from a barrier; in {overlapped:,} both were seen in their transactions at once"


async def last_segments_race(full: bool, folder: Path) -> Outcome:
    """The last two segments of an extraction are published at the same moment."""
    made, overlapped, assembling = [], 0, 0
    async with queue_database(folder) as database:
        for turn in turns(full):
            made.append((await database_rows.accept_video(database)).extraction_id)
            overlapped += await _publish_both(database, made[-1], turn)
            last = await task_queue.claim(database, worker="assembler", limit=10)
            assembling += len(last)
            for claim in last:
                assert claim.segment_keys == ("results/0", "results/1"), claim.segment_keys
                await publish_result(database, claim.lease)
        found = await count(database, made)
        tasks = await number(database, "SELECT count(*) FROM tasks WHERE kind = 'assemble'")
    return Outcome(
        name="The last two segments race",
        how=_how(len(made), overlapped),
        accepted=len(made),
        lost=found.lost,
        duplicated=found.duplicated + max(tasks, assembling) - min(len(made), tasks),
        stale=found.stale,
        note=f"{tasks:,} assembling tasks",
    )


async def _publish_both(database: AsyncEngine, extraction_id: UUID, turn: Turn) -> bool:
    """Splits the extraction in two, and publishes both; whether they were seen in their transactions at once."""
    planning = (await claim_one(database)).lease
    await task_queue.split(database, planning, media={}, frames_total=3, plan_key="results/plan", segments=SEGMENTS)
    claims = [await claim_one(database, worker) for worker in ("one", "two")]

    def publish(claim: task_queue.Claim) -> Callable[[], Awaitable[None]]:
        assert claim.segment is not None
        frames, key = claim.segment.stop - claim.segment.first, f"results/{claim.segment.number}"
        return lambda: task_queue.publish_segment(database, claim.lease, key=key, frames=frames)

    calls = (publish(claim) for claim in claims)
    met = await meet(database, extraction_id, *calls, pauses=turn.pauses, lock=turn.lock)
    assert met.results == [None, None], met.results
    return met.overlapped


async def unequal_users(full: bool, folder: Path) -> Outcome:
    """One user brings very many videos, then 20 users one each; a worker takes them one by one."""
    many, few = 10_000 if full else 500, 20
    async with queue_database(folder) as database:
        crowd = await database_rows.create_user(database, "crowd@example.com")
        made = await _accept_many(database, crowd, many)
        await publish_result(database, (await claim_one(database)).lease)
        small = {(await database_rows.accept_video(database)).extraction_id for _ in range(few)}
        waiting, place = set(small), 0
        worst = 0
        while waiting and place < many + few:
            claim = await claim_one(database)
            place += 1
            if claim.extraction_id in waiting:
                waiting.remove(claim.extraction_id)
                worst = place
            await publish_result(database, claim.lease)
        while claims := await task_queue.claim(database, worker="worker", limit=50):
            for claim in claims:
                await publish_result(database, claim.lease)
        found = await count(database, [*made, *small])
    users = few + 1
    assert worst <= users + 2, f"a small user waited {worst} places"
    return Outcome(
        name="One user with very many videos",
        how=f"{many:,} equal videos of one user, then {few} users with one each; queue functions alone",
        accepted=many + few,
        lost=found.lost,
        duplicated=found.duplicated,
        stale=found.stale,
        note=f"worst place of a small user: {worst} (users + 2 = {users + 2})",
    )


async def _accept_many(database: AsyncEngine, user_id: UUID, videos: int) -> list[UUID]:
    made: list[UUID] = []
    while len(made) < videos:
        uploads = []
        for _ in range(min(BATCH, videos - len(made))):
            video_id = uuid7()
            key = video_key(video_id)
            uploads.append(Upload(user_id, video_id, uuid7(), uuid7(), "clip.mp4", 1000, "0" * 64, key, "{}"))
        async with database.begin() as connection:
            reserved = [{"object_key": upload.object_key, "user_id": user_id} for upload in uploads]
            await connection.execute(object_reservations.RESERVE, reserved)
            await accept.accept(connection, uploads)
        made += [upload.extraction_id for upload in uploads]
    return made

"""The queue on a real PostgreSQL: claims in order, fenced writes, one end for each task, correct counters."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queue import task_queue
from db.queue.task_queue import Lease, LeaseLost
from db.values.lifecycle import (
    EXTRACTION_TRANSITIONS,
    TASK_TRANSITIONS,
    Blame,
    ExtractionStatus,
    GiveUp,
    Retry,
    TaskState,
)
from tests.support.state import database_rows
from tests.support.state.queue_steps import claim_one, expire_lease, fail_task, publish_result


async def test_claim_starts_the_extraction_and_carries_its_specification(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    claim = await claim_one(database)
    assert claim.extraction_id == accepted.extraction_id
    assert claim.lease == Lease(accepted.task_id, 1, "w1")
    assert claim.object_key == f"videos/{accepted.video_id}"
    assert '"mode":"fps"' in claim.spec
    assert not claim.sequential
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.attempt, extraction.version) == ("running", 1, 2)


async def test_concurrent_claims_never_take_the_same_task(database: AsyncEngine) -> None:
    for _ in range(5):
        await database_rows.accept_video(database)
    claims = await asyncio.gather(*(task_queue.claim(database, worker=f"w{n}", limit=2) for n in range(5)))
    ids = [claim.lease.task_id for batch in claims for claim in batch]
    assert len(ids) == 5
    assert len(set(ids)) == 5


async def test_tasks_are_claimed_in_the_order_of_acceptance(database: AsyncEngine) -> None:
    expected = [(await database_rows.accept_video(database)).task_id for _ in range(4)]
    assert [(await claim_one(database)).lease.task_id for _ in expected] == expected


async def test_heartbeat_renews_the_lease_and_writes_progress(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database, lease_seconds=60)).lease
    await task_queue.plan(database, lease, media={"codec": "h264"}, frames_total=10)
    before = (await database_rows.fetch_task(database, accepted.task_id)).lease_expires_at
    await task_queue.heartbeat(database, lease, frames_done=4, lease_seconds=600)
    assert (await database_rows.fetch_task(database, accepted.task_id)).lease_expires_at > before
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.frames_done, extraction.frames_total) == (4, 10)
    video = await database_rows.fetch_one(database, "SELECT media FROM videos WHERE id = :id", id=accepted.video_id)
    assert video.media == {"codec": "h264"}


async def test_publish_ends_the_extraction_and_writes_the_outbox_row(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    claim = await claim_one(database)
    await publish_result(database, claim.lease)
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.result_frames, extraction.frames_done) == ("succeeded", 3, 3)
    assert extraction.finished_at is not None
    notification = await database_rows.fetch_one(
        database, "SELECT channel FROM outbox WHERE extraction_id = :id", id=accepted.extraction_id
    )
    assert notification.channel == "email"
    assert await database_rows.event_kinds(database, accepted.extraction_id) == ["accepted", "claimed", "published"]


async def test_repeated_publish_by_the_same_attempt_changes_nothing(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    await publish_result(database, lease)
    await publish_result(database, lease)
    assert (await database_rows.fetch_one(database, "SELECT count(*) AS n FROM outbox")).n == 1
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).version == 3


@pytest.mark.parametrize("write", ["heartbeat", "plan", "publish", "release", "fail"])
async def test_rescued_attempt_cannot_write(database: AsyncEngine, write: str) -> None:
    accepted = await database_rows.accept_video(database)
    stale = (await claim_one(database, "frozen")).lease
    await expire_lease(database, accepted.task_id)
    assert (await task_queue.rescue(database, jitter=0.0, lease_seconds=0)).again == 1
    fresh = (await claim_one(database, "frozen")).lease
    assert (fresh.worker, fresh.attempt) == (stale.worker, stale.attempt + 1)
    writes: dict[str, Callable[[], Awaitable[object]]] = {
        "heartbeat": lambda: task_queue.heartbeat(database, stale),
        "plan": lambda: task_queue.plan(database, stale, media={}, frames_total=1),
        "publish": lambda: publish_result(database, stale),
        "release": lambda: task_queue.release(database, stale),
        "fail": lambda: fail_task(database, stale, Blame.FILE, "no_frames"),
    }
    with pytest.raises(LeaseLost):
        await writes[write]()
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "running"
    await publish_result(database, fresh)


async def test_expired_lease_that_is_not_rescued_can_be_renewed_and_published(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    await expire_lease(database, accepted.task_id)
    await task_queue.heartbeat(database, lease)
    await expire_lease(database, accepted.task_id)
    await publish_result(database, lease)
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "succeeded"


async def test_rescue_waits_until_the_database_is_up_for_a_whole_lease(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    await claim_one(database)
    await expire_lease(database, accepted.task_id)
    assert (await task_queue.rescue(database, jitter=0.0, lease_seconds=10**8)).again == 0
    assert (await database_rows.fetch_task(database, accepted.task_id)).state == "leased"


async def test_release_makes_the_task_ready_and_counts_nothing(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    await task_queue.release(database, (await claim_one(database)).lease)
    task = await database_rows.fetch_task(database, accepted.task_id)
    assert (task.state, task.crashes, task.losses, task.service_errors) == ("ready", 0, 0, 0)
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "queued"
    assert (await claim_one(database)).lease.attempt == 2


async def test_task_gives_up_after_three_crashes_with_a_sequential_last_try(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    sequential = []
    for _ in range(3):
        claim = await claim_one(database)
        sequential.append(claim.sequential)
        outcome = await fail_task(database, claim.lease, Blame.CRASH, "gave_up")
    assert sequential == [False, False, True]
    assert outcome == GiveUp("gave_up")
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    assert (extraction.status, extraction.error_code, extraction.error_detail) == ("failed", "gave_up", "It broke.")


@pytest.mark.usefixtures("long_pauses")
async def test_service_error_delays_the_task_and_counts_no_crash(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    outcome = await fail_task(database, (await claim_one(database)).lease, Blame.SERVICE)
    assert isinstance(outcome, Retry)
    task = await database_rows.fetch_task(database, accepted.task_id)
    assert (task.state, task.crashes, task.service_errors) == ("ready", 0, 1)
    assert await task_queue.claim(database, worker="w1") == []


async def test_file_error_fails_at_once_and_writes_the_outbox_row(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    outcome = await fail_task(database, (await claim_one(database)).lease, Blame.FILE, "no_video_stream")
    assert outcome == GiveUp("no_video_stream")
    assert (await database_rows.fetch_one(database, "SELECT count(*) AS n FROM outbox")).n == 1
    assert await database_rows.event_kinds(database, accepted.extraction_id) == ["accepted", "claimed", "failed"]


@pytest.mark.parametrize(("notify", "notifications"), [("all", 2), ("failures", 1), ("none", 0)])
async def test_notify_setting_decides_which_ends_are_notified(
    database: AsyncEngine, notify: str, notifications: int
) -> None:
    user = await database_rows.create_user(database)
    await database_rows.execute(database, "UPDATE users SET notify = :notify", notify=notify)
    for _ in range(2):
        await database_rows.accept_video(database, user)
    await publish_result(database, (await claim_one(database)).lease)
    await fail_task(database, (await claim_one(database)).lease, Blame.FILE, "no_frames")
    assert (await database_rows.fetch_one(database, "SELECT count(*) AS n FROM outbox")).n == notifications


async def test_cancel_ends_the_lease_and_works_once(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    async with database.begin() as connection:
        assert await task_queue.cancel(connection, accepted.extraction_id)
        assert not await task_queue.cancel(connection, accepted.extraction_id)
    with pytest.raises(LeaseLost):
        await task_queue.heartbeat(database, lease)
    with pytest.raises(LeaseLost):
        await publish_result(database, lease)
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == "cancelled"


async def test_concurrent_publish_and_cancel_have_one_winner(database: AsyncEngine) -> None:
    for _ in range(30):
        accepted = await database_rows.accept_video(database)
        lease = (await claim_one(database)).lease

        async def cancel(extraction_id: UUID = accepted.extraction_id) -> bool:
            async with database.begin() as connection:
                return await task_queue.cancel(connection, extraction_id)

        published, cancelled = await asyncio.gather(publish_result(database, lease), cancel(), return_exceptions=True)
        assert isinstance(published, LeaseLost) == cancelled
        status = (await database_rows.fetch_extraction(database, accepted.extraction_id)).status
        assert status == ("cancelled" if cancelled else "succeeded")


async def create_row_in_state(database: AsyncEngine, table: str, column: str, state: str) -> UUID:
    """Creates a row in this state, without firing the trigger under test."""
    accepted = await database_rows.accept_video(database)
    row_id = accepted.task_id if table == "tasks" else accepted.extraction_id
    async with database.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(
            text(f"UPDATE {table} SET {STATE_COLUMNS[table][state]} WHERE id = :id"), {"id": row_id}
        )
    return row_id


STATE_COLUMNS: dict[str, dict[str, str]] = {
    "tasks": {
        state: f"state = '{state}', "
        + (
            "leased_by = 'w', lease_expires_at = now()"
            if state == "leased"
            else "leased_by = NULL, lease_expires_at = NULL"
        )
        for state in TaskState
    },
    "extractions": {
        state: f"status = '{state}', started_at = now(), "
        f"finished_at = {'now()' if state in {'succeeded', 'failed', 'cancelled'} else 'NULL'}, "
        f"error_code = {chr(39) + 'internal' + chr(39) if state == 'failed' else 'NULL'}, "
        f"result_key = {chr(39) + 'k' + chr(39) if state == 'succeeded' else 'NULL'}, "
        f"result_sha256 = {chr(39) + 's' + chr(39) if state == 'succeeded' else 'NULL'}"
        for state in ExtractionStatus
    },
}


@pytest.mark.parametrize(
    ("table", "column", "states", "transitions"),
    [
        ("extractions", "status", ExtractionStatus, EXTRACTION_TRANSITIONS),
        ("tasks", "state", TaskState, TASK_TRANSITIONS),
    ],
)
async def test_postgres_allows_exactly_the_declared_transitions(
    database: AsyncEngine,
    table: str,
    column: str,
    states: type[StrEnum],
    transitions: Mapping[StrEnum, frozenset[StrEnum]],
) -> None:
    result = "INSERT INTO results (key, extraction_id, user_id, bytes) VALUES ('k', :id, :user_id, 1)"
    owner = await database_rows.create_user(database, "owner@example.com")
    await database_rows.execute(database, result, id=owner, user_id=owner)
    for before in states:
        for after in states:
            if before is after:
                continue
            row_id = await create_row_in_state(database, table, column, before)
            change = database_rows.execute(
                database, f"UPDATE {table} SET {STATE_COLUMNS[table][after]} WHERE id = :id", id=row_id
            )
            if after in transitions[before]:
                await change
            else:
                with pytest.raises(IntegrityError, match="can not follow"):
                    await change


async def test_ended_extraction_cannot_be_changed(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    await publish_result(database, (await claim_one(database)).lease)
    with pytest.raises(IntegrityError, match="can not follow"):
        await database_rows.execute(database, "UPDATE extractions SET result_sha256 = 'forged'")
    await database_rows.execute(
        database, "UPDATE extractions SET swept = true WHERE id = :id", id=accepted.extraction_id
    )


async def test_attempt_never_decreases(database: AsyncEngine) -> None:
    await database_rows.accept_video(database)
    await claim_one(database)
    with pytest.raises(IntegrityError, match="never falls"):
        await database_rows.execute(database, "UPDATE tasks SET attempt = 0")


@pytest.mark.parametrize("statement", ["DELETE FROM acceptances", "UPDATE acceptances SET user_id = gen_random_uuid()"])
async def test_acceptance_cannot_be_deleted(database: AsyncEngine, statement: str) -> None:
    await database_rows.accept_video(database)
    with pytest.raises(IntegrityError, match="append-only"):
        await database_rows.execute(database, statement)

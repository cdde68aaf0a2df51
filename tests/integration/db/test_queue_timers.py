"""Every row that has not ended has a timer: when its times are moved to the past, it ends or continues by itself."""

from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from actors.maintenance.maintenance_loop import Maintenance
from db import videos
from db.acceptance import idempotency_keys, object_reservations
from db.acceptance.idempotency_keys import OwnedKey
from db.accounts import accounts
from db.notification import outbox
from db.object_store.folder_store import FolderStore
from db.object_store.object_keys import video_key
from db.queue import task_queue
from db.values.lifecycle import Blame, ExtractionStatus, TaskState, is_terminal
from tests.support.clients.api_client import one_chunk
from tests.support.state import database_rows
from tests.support.state.maintenance_setup import make_maintenance
from tests.support.state.notification_setup import accept_and_fail
from tests.support.state.queue_steps import claim_one, expire_lease, fail_task


@pytest.fixture
def maintenance(database: AsyncEngine, tmp_path: Path) -> Maintenance:
    return make_maintenance(database, FolderStore(tmp_path / "objects"))


async def fail_all_claimable_tasks(database: AsyncEngine) -> int:
    """Claims and fails every task that can be claimed now; returns how many."""
    count = 0
    while claims := await task_queue.claim(database, worker="w", limit=10):
        for claim in claims:
            await fail_task(database, claim.lease, Blame.FILE, "no_video_stream")
            count += 1
    return count


async def make_throttled(database: AsyncEngine) -> None:
    """Throttles the second task of a user whose limit is 1. Then the limit is raised, which alone admits no task."""
    await database_rows.execute(database, "UPDATE queue_state SET running_limit = 1")
    first = await database_rows.accept_video(database)
    await database_rows.accept_video(database, first.user_id)
    await database_rows.execute(database, "UPDATE queue_state SET running_limit = 32")


async def make_ready(database: AsyncEngine) -> None:
    """Leaves a task ready after the pause that follows a service error."""
    await database_rows.accept_video(database)
    await fail_task(database, (await claim_one(database)).lease, Blame.SERVICE, "unavailable")
    assert await task_queue.claim(database, worker="w") == []
    await database_rows.execute(database, "UPDATE tasks SET ready_at = ready_at - interval '1 day'")


async def make_leased(database: AsyncEngine) -> None:
    """Leaves a task leased by a worker that has died."""
    accepted = await database_rows.accept_video(database)
    await claim_one(database)
    await expire_lease(database, accepted.task_id)


MAKERS_BY_STATE = {TaskState.THROTTLED: make_throttled, TaskState.READY: make_ready, TaskState.LEASED: make_leased}


async def test_every_task_state_is_covered() -> None:
    assert set(MAKERS_BY_STATE) == {state for state in TaskState if not is_terminal(state)}


@pytest.mark.usefixtures("long_pauses")
@pytest.mark.parametrize("state", MAKERS_BY_STATE)
async def test_task_progresses_by_maintenance_from_every_state(
    database: AsyncEngine, maintenance: Maintenance, state: TaskState
) -> None:
    await MAKERS_BY_STATE[state](database)
    assert (
        await database_rows.fetch_one(database, "SELECT count(*) AS n FROM tasks WHERE state::text = :s", s=str(state))
    ).n >= 1
    await maintenance.lease_rescuer.run()
    await maintenance.share_reconciler.run()
    assert await fail_all_claimable_tasks(database) >= 1
    assert (
        await database_rows.fetch_one(database, "SELECT count(*) AS n FROM extractions WHERE finished_at IS NULL")
    ).n == 0


@pytest.mark.parametrize("status", [status for status in ExtractionStatus if not is_terminal(status)])
async def test_extraction_without_a_task_is_repaired_by_maintenance(
    database: AsyncEngine, maintenance: Maintenance, status: ExtractionStatus
) -> None:
    accepted = await database_rows.accept_video(database)
    if status is ExtractionStatus.RUNNING:
        await claim_one(database)
    await database_rows.execute(database, "DELETE FROM tasks")
    assert (await database_rows.fetch_extraction(database, accepted.extraction_id)).status == status
    assert await maintenance.stuck_work_repairer.run() == 1
    assert await fail_all_claimable_tasks(database) == 1


async def test_notification_of_a_dead_sender_is_due_again_and_given_up_after_a_day(database: AsyncEngine) -> None:
    await accept_and_fail(database)
    (notification,) = await outbox.take(database, "email")
    shift_times = "UPDATE outbox SET due_at = due_at - interval '1 day', owed_since = owed_since - interval '2 days'"
    await database_rows.execute(database, shift_times)
    (notification,) = await outbox.take(database, "email")
    await outbox.postpone(database, notification, "away", 0.0)
    assert (await database_rows.fetch_one(database, "SELECT given_up_at FROM outbox")).given_up_at is not None


async def test_reservation_idempotency_lease_and_garbage_are_removed_by_maintenance(
    database: AsyncEngine, maintenance: Maintenance, tmp_path: Path
) -> None:
    store = FolderStore(tmp_path / "objects")
    accepted = await database_rows.accept_video(database)
    key = video_key(uuid7())
    await object_reservations.reserve(database, accepted.user_id, key)
    for object_key in (key, video_key(accepted.video_id)):
        await store.put(object_key, one_chunk(b"data"))
    await idempotency_keys.claim(database, OwnedKey(accepted.user_id, "POST /v1/videos", "k", uuid7()))
    await videos.delete(database, accepted.user_id, accepted.video_id)
    for table in ("reservations", "idempotency_keys", "garbage"):
        await database_rows.execute(database, f"UPDATE {table} SET created_at = created_at - interval '25 hours'")
    await maintenance.abandoned_upload_cleaner.run()
    await maintenance.expiry_cleaner.run()
    await maintenance.garbage_cleaner.run()
    remaining = "SELECT (SELECT count(*) FROM reservations) + (SELECT count(*) FROM idempotency_keys)"
    assert (await database_rows.fetch_one(database, f"{remaining} + (SELECT count(*) FROM garbage) AS n")).n == 0
    assert await store.keys("videos") == []


async def test_expired_idempotency_lease_can_be_taken_over(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    await idempotency_keys.claim(database, OwnedKey(user, "POST /v1/videos", "k", uuid7()))
    await database_rows.execute(
        database, "UPDATE idempotency_keys SET lease_expires_at = lease_expires_at - interval '1 day'"
    )
    assert await idempotency_keys.claim(database, OwnedKey(user, "POST /v1/videos", "k", uuid7())) is None


async def test_expired_session_is_removed(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    await database_rows.execute(
        database,
        "INSERT INTO sessions (id, user_id, expires_at) VALUES (:id, :user, now() - interval '2 days')",
        id=uuid7(),
        user=user,
    )
    assert await accounts.delete_expired_sessions(database) == 1

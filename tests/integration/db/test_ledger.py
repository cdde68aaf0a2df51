"""The ledger balances after every operation of users and workers, and lists each id whose records differ."""

from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from db import videos
from db.acceptance import acceptance_audit
from db.object_store.object_keys import result_prefix
from db.queue import task_queue
from db.queue.task_queue import Publication
from db.values.lifecycle import Blame
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted
from tests.support.state.queue_steps import claim_one, fail_task


async def accept_and_publish(database: AsyncEngine, user_id: UUID | None = None) -> Accepted:
    accepted = await database_rows.accept_video(database, user_id)
    claim = await claim_one(database)
    prefix = result_prefix(accepted.extraction_id, accepted.task_id, claim.lease.attempt)
    await task_queue.publish(database, claim.lease, Publication(prefix, "auto/1", 1, 4, "f" * 64, []))
    return accepted


async def accept_and_cancel(database: AsyncEngine) -> Accepted:
    accepted = await database_rows.accept_video(database)
    async with database.begin() as connection:
        await task_queue.cancel(connection, accepted.extraction_id)
    return accepted


async def test_every_outcome_of_an_acceptance_balances(database: AsyncEngine) -> None:
    first = await accept_and_publish(database)
    await database_rows.accept_reextraction(database, first)
    deleted = await accept_and_publish(database)
    await videos.delete(database, deleted.user_id, deleted.video_id)
    await accept_and_cancel(database)
    await database_rows.accept_video(database)
    await fail_task(database, (await claim_one(database)).lease, Blame.FILE, "no_video_stream")
    await database_rows.accept_video(database)
    await claim_one(database)
    await database_rows.accept_video(database)
    ledger = await acceptance_audit.compare(database)
    counts = {name: getattr(ledger.total, name) for name in ("accepted", *acceptance_audit.STATES)}
    assert counts == {
        "accepted": 7, "succeeded": 2, "failed": 1, "cancelled": 1, "queued": 1, "running": 1, "deleted": 1,
    }  # fmt: skip
    assert ledger.total.balanced
    account = next(each for each in ledger.accounts if each.user_id == first.user_id)
    assert (account.balance.accepted, account.balance.succeeded, account.balance.balanced) == (2, 2, True)


async def test_deleted_account_keeps_its_ledger_entries(database: AsyncEngine) -> None:
    accepted = await accept_and_publish(database)
    await videos.delete(database, accepted.user_id, accepted.video_id)
    await database_rows.execute(database, "DELETE FROM users WHERE id = :id", id=accepted.user_id)
    (account,) = (await acceptance_audit.compare(database)).accounts
    assert (account.email, account.balance.deleted, account.balance.balanced) == (None, 1, True)


WITHOUT_TRIGGERS = "SET LOCAL session_replication_role = replica"
DAMAGE = {
    "lost": "DELETE FROM extractions WHERE id = :id",
    "never_accepted": "DELETE FROM acceptances WHERE extraction_id = :id",
    "deleted_and_there": "INSERT INTO tombstones (extraction_id, user_id, status) "
    "SELECT id, user_id, status FROM extractions WHERE id = :id",
    "ended_twice": "INSERT INTO events (extraction_id, kind) VALUES (:id, 'failed')",
    "live_task_after_end": "UPDATE tasks SET state = 'ready' WHERE extraction_id = :id",
    "no_live_task": "UPDATE extractions SET status = 'running', finished_at = NULL, result_key = NULL, "
    "result_sha256 = NULL WHERE id = :id",
    "no_result": "UPDATE extractions SET result_bytes = NULL WHERE id = :id",
    "no_end_noted": "DELETE FROM events WHERE extraction_id = :id AND kind = 'published'",
}


@pytest.mark.parametrize("reason", acceptance_audit.REASONS)
async def test_every_kind_of_difference_is_found_with_its_id(database: AsyncEngine, reason: str) -> None:
    await accept_and_publish(database)
    accepted = await accept_and_publish(database)
    async with database.begin() as connection:
        await connection.execute(text(WITHOUT_TRIGGERS))
        await connection.execute(text(DAMAGE[reason]), {"id": accepted.extraction_id})
    balance = (await acceptance_audit.compare(database)).total
    assert balance.differences == (acceptance_audit.Difference(accepted.extraction_id, reason),)
    assert (balance.difference_count, balance.balanced) == (1, False)


async def test_videos_missing_without_tombstones_are_found(database: AsyncEngine) -> None:
    accepted = await accept_and_publish(database)
    await database_rows.execute(database, "DELETE FROM users WHERE id = :id", id=accepted.user_id)
    assert (await acceptance_audit.compare(database)).total.differences == (
        acceptance_audit.Difference(accepted.extraction_id, "lost"),
    )


@pytest.mark.parametrize(
    "statement",
    ["UPDATE acceptances SET accepted_at = now()", "DELETE FROM acceptances", "TRUNCATE acceptances"],
)
async def test_acceptances_cannot_be_changed_or_deleted(database: AsyncEngine, statement: str) -> None:
    await database_rows.accept_video(database)
    with pytest.raises(DBAPIError, match="append-only"):
        await database_rows.execute(database, statement)


async def test_listed_ids_are_limited_and_all_differences_are_counted(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    await database_rows.execute(
        database,
        "INSERT INTO acceptances (extraction_id, video_id, user_id) "
        "SELECT gen_random_uuid(), gen_random_uuid(), :user FROM generate_series(1, 150)",
        user=user,
    )
    balance = (await acceptance_audit.compare(database)).total
    assert (balance.difference_count, len(balance.differences)) == (150, acceptance_audit.MAX_DIFFERENCES)

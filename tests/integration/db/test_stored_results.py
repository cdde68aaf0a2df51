"""A result is stored once for the same bytes of an account, and exists as long as an extraction refers to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db import videos
from db.acceptance import accept
from db.object_store import object_keys, orphaned_objects, retention
from db.object_store.object_keys import Candidates
from db.queue import task_queue
from db.queue.task_queue import Lease
from db.values.error_catalogue import CatalogueError
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted, accept_video, fetch_extraction, fetch_one
from tests.support.state.queue_steps import PUBLICATION, claim_one, publish_result

ENGINE = PUBLICATION.engine


async def publish_next(database: AsyncEngine, *, retention_seconds: float | None = None) -> str:
    """Publishes a result for the next task; returns its key."""
    lease = (await claim_one(database)).lease
    key = f"results/{(await extraction_of(database, lease))}/{lease.task_id}/{lease.attempt}"
    await task_queue.publish(database, lease, replace(PUBLICATION, key=key), retention_seconds=retention_seconds)
    return key


async def extraction_of(database: AsyncEngine, lease: Lease) -> UUID:
    extraction_id: UUID = (await database_rows.fetch_task(database, lease.task_id)).extraction_id
    return extraction_id


async def accept_same_bytes(database: AsyncEngine, first: Accepted) -> Accepted:
    """Accepts another video of the account with the same bytes."""
    return await accept_video(database, first.user_id, "copy.mp4")


async def reuse_next(database: AsyncEngine, *, engine: str = ENGINE) -> bool:
    """Claims the next task; returns whether it ended with a stored result."""
    lease = (await claim_one(database)).lease
    return await task_queue.publish_stored_result(database, lease, engine=engine)


async def garbage_keys(database: AsyncEngine) -> set[str]:
    rows = await fetch_one(database, "SELECT coalesce(array_agg(object_key), '{}') AS keys FROM garbage")
    return {key for key in rows.keys if key.startswith("results/")}


async def test_task_of_the_same_bytes_ends_with_the_stored_result(database: AsyncEngine) -> None:
    first = await accept_video(database)
    key = await publish_next(database)
    second = await accept_same_bytes(database, first)
    assert await reuse_next(database)
    row = await fetch_extraction(database, second.extraction_id)
    assert (row.status, row.reused, row.result_key, row.result_sha256) == ("succeeded", True, key, PUBLICATION.sha256)
    assert (await database_rows.fetch_task(database, second.task_id)).state == "done"
    assert await database_rows.event_kinds(database, second.extraction_id) == ["accepted", "claimed", "reused"]
    notified = await fetch_one(
        database, "SELECT count(*) AS n FROM outbox WHERE extraction_id = :id", id=second.extraction_id
    )
    assert notified.n == 1


async def test_reused_result_gives_the_charged_work_back(database: AsyncEngine) -> None:
    first = await accept_video(database)
    await publish_next(database)
    await accept_same_bytes(database, first)
    before = (await fetch_one(database, "SELECT owed FROM shares WHERE user_id = :id", id=first.user_id)).owed
    assert await reuse_next(database)
    after = (await fetch_one(database, "SELECT owed FROM shares WHERE user_id = :id", id=first.user_id)).owed
    assert after < before


async def test_other_engine_specification_bytes_or_account_is_not_reused(database: AsyncEngine) -> None:
    first = await accept_video(database)
    await publish_next(database)
    await accept_same_bytes(database, first)
    assert not await reuse_next(database, engine="auto/2")
    other_user = await database_rows.create_user(database, "bob@example.com")
    await accept_video(database, other_user)
    assert not await reuse_next(database)
    other = await accept_same_bytes(database, first)
    await database_rows.execute(database, "UPDATE videos SET sha256 = 'other' WHERE id = :id", id=other.video_id)
    assert not await reuse_next(database)
    spec = await accept_same_bytes(database, first)
    await database_rows.execute(database, "UPDATE extractions SET spec = 'other' WHERE id = :id", id=spec.extraction_id)
    assert not await reuse_next(database)


async def test_video_whose_digest_is_unknown_reuses_no_result(database: AsyncEngine) -> None:
    first = await accept_video(database)
    await publish_next(database)
    await database_rows.execute(database, "UPDATE videos SET sha256 = NULL")
    await accept_same_bytes(database, first)
    await database_rows.execute(database, "UPDATE videos SET sha256 = NULL")
    assert not await reuse_next(database)


async def test_stale_attempt_cannot_end_with_a_stored_result(database: AsyncEngine) -> None:
    first = await accept_video(database)
    await publish_next(database)
    second = await accept_same_bytes(database, first)
    lease = (await claim_one(database)).lease
    await task_queue.release(database, lease)
    assert not await task_queue.publish_stored_result(database, lease, engine=ENGINE)
    assert (await fetch_extraction(database, second.extraction_id)).status == "queued"


async def test_shared_result_is_deleted_with_the_last_video_that_refers_to_it(database: AsyncEngine) -> None:
    first = await accept_video(database)
    key = await publish_next(database)
    second = await accept_same_bytes(database, first)
    assert await reuse_next(database)
    result_prefix = f"results/{first.extraction_id}/"
    assert await videos.delete(database, first.user_id, first.video_id)
    assert result_prefix not in await garbage_keys(database)
    candidates = Candidates((), (), ((f"{key}/frames.zip", first.extraction_id),))
    assert await orphaned_objects.disown(database, candidates) == []
    assert await videos.delete(database, first.user_id, second.video_id)
    assert result_prefix in await garbage_keys(database)
    assert (await fetch_one(database, "SELECT count(*) AS n FROM results")).n == 0


async def test_deletion_and_reuse_at_the_same_time_leave_no_reference_to_a_deleted_result(
    database: AsyncEngine,
) -> None:
    for _ in range(10):
        first = await accept_video(database)
        await publish_next(database)
        second = await accept_same_bytes(database, first)
        deleted, _ = await asyncio.gather(videos.delete(database, first.user_id, first.video_id), reuse_next(database))
        assert deleted
        row = await fetch_extraction(database, second.extraction_id)
        result_prefix = f"results/{first.extraction_id}/"
        assert (row.status == "succeeded") == (result_prefix not in await garbage_keys(database))
        await videos.delete(database, first.user_id, second.video_id)


async def test_expired_result_is_removed_and_not_reused(database: AsyncEngine) -> None:
    first = await accept_video(database)
    await publish_next(database, retention_seconds=3600)
    assert await retention.remove_expired_results(database) == 0
    await database_rows.execute(database, "UPDATE results SET expires_at = now() - interval '1 s'")
    assert await retention.remove_expired_results(database) == 1
    assert await retention.remove_expired_results(database) == 0
    assert f"results/{first.extraction_id}/" in await garbage_keys(database)
    await accept_same_bytes(database, first)
    assert not await reuse_next(database)


async def test_reuse_keeps_a_result_for_the_time_of_its_newest_extraction(database: AsyncEngine) -> None:
    first = await accept_video(database)
    await publish_next(database, retention_seconds=3600)
    await accept_same_bytes(database, first)
    lease = (await claim_one(database)).lease
    assert await task_queue.publish_stored_result(database, lease, engine=ENGINE, retention_seconds=7200)
    row = await fetch_one(database, "SELECT expires_at > now() + interval '90 min' AS longer FROM results")
    assert row.longer


async def test_bytes_of_an_old_video_are_removed_and_it_cannot_be_extracted_again(database: AsyncEngine) -> None:
    finished, queued = await accept_video(database), await accept_video(database)
    await publish_result(database, (await claim_one(database)).lease)
    assert (await fetch_extraction(database, finished.extraction_id)).status == "succeeded"
    await database_rows.execute(database, "UPDATE videos SET created_at = now() - interval '2 days'")
    assert await retention.remove_old_videos(database, seconds=86_400) == 1
    removed = await fetch_one(database, "SELECT object_key FROM garbage")
    assert removed.object_key == object_keys.video_key(finished.video_id)
    again = database_rows.make_reextraction(finished, '{"other":1}')
    with pytest.raises(CatalogueError, match="video_expired"):
        async with database.begin() as connection:
            await accept.extract_again(connection, again)
    async with database.begin() as connection:
        await accept.extract_again(connection, database_rows.make_reextraction(queued, '{"other":1}'))

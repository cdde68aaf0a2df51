"""Objects without rows are removed; results stay."""

from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from db import videos
from db.acceptance import object_reservations
from db.object_store.object_keys import result_prefix, video_key
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from db.queue.task_queue import Publication
from tests.support.clients.api_client import one_chunk
from tests.support.state import database_rows
from tests.support.state.maintenance_setup import make_maintenance
from tests.support.state.queue_steps import claim_one


async def test_abandoned_upload_is_removed_after_a_day(database: AsyncEngine, store: ObjectStore) -> None:
    user = await database_rows.create_user(database)
    fresh, old = video_key(uuid7()), video_key(uuid7())
    for key in (fresh, old):
        await object_reservations.reserve(database, user, key)
        await store.put(key, one_chunk(b"data"))
    await database_rows.execute(
        database, "UPDATE reservations SET created_at = now() - interval '25 hours' WHERE object_key = :key", key=old
    )
    assert await make_maintenance(database, store).abandoned_upload_cleaner.run() == 1
    assert await store.keys("videos") == [fresh]
    assert (await database_rows.fetch_one(database, "SELECT object_key FROM reservations")).object_key == fresh


async def test_objects_of_a_deleted_video_are_removed(database: AsyncEngine, store: ObjectStore) -> None:
    accepted = await database_rows.accept_video(database)
    other = await database_rows.accept_video(database)
    for key in (
        video_key(accepted.video_id),
        f"{result_prefix(accepted.extraction_id, accepted.task_id, 1)}/frames.zip",
        video_key(other.video_id),
    ):
        await store.put(key, one_chunk(b"data"))
    await videos.delete(database, accepted.user_id, accepted.video_id)
    assert await make_maintenance(database, store).garbage_cleaner.run() == 2
    assert await store.keys("videos") == [video_key(other.video_id)]
    assert await store.keys("results") == []


async def test_objects_of_lost_attempts_are_removed_and_the_result_stays(
    database: AsyncEngine, store: ObjectStore
) -> None:
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    result_key = result_prefix(accepted.extraction_id, accepted.task_id, lease.attempt)
    lost_attempt = result_prefix(accepted.extraction_id, accepted.task_id, 10)
    for prefix in (result_key, lost_attempt):
        await store.put(f"{prefix}/frames.zip", one_chunk(b"data"))
    publication = Publication(result_key, "auto/1", 1, 4, "f" * 64, [])
    await task_queue.publish(database, lease, publication)
    maintenance = make_maintenance(database, store)
    assert await maintenance.lost_attempt_cleaner.run() == 1
    assert await store.keys("results") == [f"{result_key}/frames.zip"]
    assert await maintenance.lost_attempt_cleaner.run() == 0


async def test_reused_result_is_not_removed(database: AsyncEngine, store: ObjectStore) -> None:
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    prefix = result_prefix(accepted.extraction_id, accepted.task_id, lease.attempt)
    await store.put(f"{prefix}/frames.zip", one_chunk(b"data"))
    await task_queue.publish(database, lease, Publication(prefix, "auto/1", 1, 4, "f" * 64, []))
    again = await database_rows.accept_reextraction(database, accepted)
    assert (await database_rows.fetch_extraction(database, again)).reused
    await make_maintenance(database, store).lost_attempt_cleaner.run()
    assert await store.keys("results") == [f"{prefix}/frames.zip"]

"""Accept: every object is reserved, accepted or garbage; an idempotency key repeats its response; sessions."""

import asyncio
import uuid
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from db import videos
from db.acceptance import accept, idempotency_keys, object_reservations
from db.acceptance.accept import Upload
from db.acceptance.idempotency_keys import OwnedKey, StoredResponse
from db.accounts import accounts
from db.object_store import object_keys
from db.queue import task_queue
from db.values.error_catalogue import CatalogueError
from db.values.lifecycle import ExtractionStatus
from tests.support.state import database_rows
from tests.support.state.queue_steps import PUBLICATION, claim_one, publish_result

STORED_RESPONSE = StoredResponse("fingerprint", 201, '{"items":[]}')


def owned_key(user_id: UUID, key: str = "k") -> OwnedKey:
    return OwnedKey(user_id, "POST /v1/videos", key, uuid.uuid4())


def make_upload(user_id: UUID, video_id: UUID) -> Upload:
    return Upload(user_id, video_id, uuid7(), uuid7(), "clip.mp4", 10, "0" * 64, object_keys.video_key(video_id), "{}")


async def test_accept_replaces_the_reservation_by_all_rows(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    counts = await database_rows.fetch_one(
        database,
        "SELECT (SELECT count(*) FROM reservations) r, (SELECT count(*) FROM acceptances) a,"
        " (SELECT count(*) FROM tasks WHERE state = 'ready') t",
    )
    assert tuple(counts) == (0, 1, 1)
    assert await database_rows.event_kinds(database, accepted.extraction_id) == ["accepted"]


async def test_abandoned_reservation_refuses_its_whole_batch(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    reserved, abandoned = uuid7(), uuid7()
    for video_id in (reserved, abandoned):
        await object_reservations.reserve(database, user, object_keys.video_key(video_id))
    await object_reservations.abandon(database, [object_keys.video_key(abandoned)])
    with pytest.raises(CatalogueError, match="unavailable"):
        async with database.begin() as connection:
            await accept.accept(connection, [make_upload(user, reserved), make_upload(user, abandoned)])
    assert (await database_rows.fetch_one(database, "SELECT count(*) AS n FROM videos")).n == 0
    assert (await database_rows.fetch_one(database, "SELECT count(*) AS n FROM reservations")).n == 2


async def test_reservation_of_another_user_cannot_be_accepted(database: AsyncEngine) -> None:
    ana, bob = await database_rows.create_user(database), await database_rows.create_user(database, "bob@example.com")
    video_id = uuid7()
    await object_reservations.reserve(database, ana, object_keys.video_key(video_id))
    with pytest.raises(CatalogueError):
        async with database.begin() as connection:
            await accept.accept(connection, [make_upload(bob, video_id)])


async def test_existing_result_of_the_same_engine_is_reused(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    await publish_result(database, (await claim_one(database)).lease)
    extraction_id = await database_rows.accept_reextraction(database, accepted)
    row = await database_rows.fetch_extraction(database, extraction_id)
    assert (row.status, row.reused, row.result_sha256) == ("succeeded", True, PUBLICATION.sha256)
    assert await task_queue.claim(database, worker="w") == []


async def test_result_of_another_engine_is_not_reused(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    await publish_result(database, (await claim_one(database)).lease)
    extraction_id = await database_rows.accept_reextraction(database, accepted, engine_name="auto/2")
    assert not (await database_rows.fetch_extraction(database, extraction_id)).reused
    assert (await claim_one(database)).extraction_id == extraction_id


async def test_video_of_another_user_cannot_be_extracted(database: AsyncEngine) -> None:
    accepted, bob = (
        await database_rows.accept_video(database),
        await database_rows.create_user(database, "bob@example.com"),
    )
    with pytest.raises(CatalogueError, match="not_found"):
        await database_rows.accept_reextraction(database, replace(accepted, user_id=bob))


async def test_idempotency_key_is_claimed_once_then_gives_the_stored_response(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    first = owned_key(user)
    assert await idempotency_keys.claim(database, first) is None
    with pytest.raises(CatalogueError, match="idempotency_in_progress"):
        await idempotency_keys.claim(database, owned_key(user))
    async with database.begin() as connection:
        await idempotency_keys.store_responses(connection, {first: STORED_RESPONSE})
    assert await idempotency_keys.claim(database, owned_key(user)) == STORED_RESPONSE
    assert await idempotency_keys.claim(database, owned_key(user, "other")) is None


async def test_only_one_of_concurrent_calls_claims_an_idempotency_key(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    claims = await asyncio.gather(
        *(idempotency_keys.claim(database, owned_key(user)) for _ in range(8)), return_exceptions=True
    )
    assert claims.count(None) == 1


async def test_expired_key_lease_is_taken_over_and_the_first_call_cannot_finish(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    first_call, second_call = owned_key(user), owned_key(user)
    await idempotency_keys.claim(database, first_call)
    await database_rows.execute(database, "UPDATE idempotency_keys SET lease_expires_at = now() - interval '1 second'")
    assert await idempotency_keys.claim(database, second_call) is None
    with pytest.raises(CatalogueError, match="idempotency_in_progress"):
        async with database.begin() as connection:
            await idempotency_keys.store_responses(connection, {first_call: STORED_RESPONSE})
    with pytest.raises(CatalogueError):
        await idempotency_keys.renew(database, first_call)
    await idempotency_keys.release(database, first_call)
    async with database.begin() as connection:
        await idempotency_keys.store_responses(connection, {second_call: STORED_RESPONSE})


async def test_stored_response_is_kept_a_day(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    first = owned_key(user)
    await idempotency_keys.claim(database, first)
    async with database.begin() as connection:
        await idempotency_keys.store_responses(connection, {first: STORED_RESPONSE})
    assert await idempotency_keys.delete_expired(database) == 0
    await database_rows.execute(database, "UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    assert await idempotency_keys.claim(database, owned_key(user)) is None


async def test_deleting_a_video_cancels_its_extractions_and_writes_tombstones_and_garbage(
    database: AsyncEngine,
) -> None:
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    assert await videos.delete(database, accepted.user_id, accepted.video_id)
    with pytest.raises(task_queue.LeaseLost):
        await task_queue.heartbeat(database, lease)
    tombstone = await database_rows.fetch_one(database, "SELECT extraction_id, status FROM tombstones")
    assert tuple(tombstone) == (accepted.extraction_id, "cancelled")
    assert (await database_rows.fetch_one(database, "SELECT count(*) AS n FROM garbage")).n == 2
    assert (await database_rows.fetch_one(database, "SELECT count(*) AS n FROM acceptances")).n == 1
    assert not await videos.delete(database, accepted.user_id, accepted.video_id)


async def test_extraction_requested_during_deletion_is_cancelled(database: AsyncEngine) -> None:
    """The deletion waits until the second extraction is committed, and then ends it as well."""
    accepted = await database_rows.accept_video(database)
    second_extraction = database_rows.make_reextraction(accepted, "{}")
    async with database.begin() as connection:
        await accept.extract_again(connection, second_extraction)
        deleting = asyncio.create_task(videos.delete(database, accepted.user_id, accepted.video_id))
        lock_waits = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted"
        while not (await database_rows.fetch_one(database, lock_waits)).n:
            await asyncio.sleep(0.01)
    assert await deleting
    tombstone = await database_rows.fetch_one(
        database, "SELECT status FROM tombstones WHERE extraction_id = :id", id=second_extraction.extraction_id
    )
    assert tombstone.status == "cancelled"


async def test_video_of_another_user_cannot_be_read_or_deleted(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    bob = await database_rows.create_user(database, "bob@example.com")
    assert not await videos.delete(database, bob, accepted.video_id)
    assert await videos.video_key_of(database, bob, accepted.video_id) is None
    assert await videos.extraction_key_of(database, bob, accepted.extraction_id) is None
    assert await videos.list_keys(database, bob, limit=10) == []


async def test_videos_are_listed_newest_first_filtered_and_paged(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    accepted_videos = [await database_rows.accept_video(database, user, name) for name in ("a.mp4", "b.mov", "Ça.mp4")]
    newest_first = [accepted.video_id for accepted in reversed(accepted_videos)]
    assert [key.video_id for key in await videos.list_keys(database, user, limit=10)] == newest_first
    first_page = await videos.list_keys(database, user, limit=2)
    second_page = await videos.list_keys(database, user, limit=2, before=first_page[-1].video_id)
    assert [key.video_id for key in first_page + second_page] == newest_first
    await claim_one(database)
    running = await videos.list_keys(database, user, limit=10, status=ExtractionStatus.RUNNING)
    assert [key.video_id for key in running] == [accepted_videos[0].video_id]
    matching = await videos.list_keys(database, user, limit=10, words="MP4")
    assert [key.video_id for key in matching] == [accepted_videos[2].video_id, accepted_videos[0].video_id]
    assert len(await videos.list_keys(database, user, limit=10, words="%")) == 0


async def test_representation_has_the_queue_position(database: AsyncEngine) -> None:
    accepted_videos = [await database_rows.accept_video(database) for _ in range(3)]
    rows = await videos.read_rows(database, [accepted.extraction_id for accepted in accepted_videos])
    assert [rows[accepted.extraction_id].extraction.queue_position for accepted in accepted_videos] == [1, 2, 3]
    await claim_one(database)
    rows = await videos.read_rows(database, [accepted.extraction_id for accepted in accepted_videos])
    assert [rows[accepted.extraction_id].extraction.queue_position for accepted in accepted_videos] == [None, 1, 2]


async def test_reused_refresh_token_ends_its_session(database: AsyncEngine) -> None:
    user, session = await database_rows.create_user(database), uuid7()
    await accounts.open_session(database, session_id=session, user_id=user, seconds=60)
    assert await accounts.rotate(database, session, 0) == 1
    assert await accounts.rotate(database, session, 1) == 2
    with pytest.raises(CatalogueError, match="refresh_token_reused"):
        await accounts.rotate(database, session, 0)
    with pytest.raises(CatalogueError, match="unauthenticated"):
        await accounts.rotate(database, session, 2)
    assert await accounts.principal(database, session) is None


async def test_only_one_of_two_concurrent_refreshes_succeeds(database: AsyncEngine) -> None:
    user, session = await database_rows.create_user(database), uuid7()
    await accounts.open_session(database, session_id=session, user_id=user, seconds=60)
    outcomes = await asyncio.gather(*(accounts.rotate(database, session, 0) for _ in range(4)), return_exceptions=True)
    assert outcomes.count(1) == 1


async def test_expired_session_is_not_found(database: AsyncEngine) -> None:
    user, session = await database_rows.create_user(database), uuid7()
    await accounts.open_session(database, session_id=session, user_id=user, seconds=-1)
    assert await accounts.principal(database, session) is None


async def test_email_is_unique(database: AsyncEngine) -> None:
    await database_rows.create_user(database)
    with pytest.raises(CatalogueError, match="email_taken"):
        await database_rows.create_user(database)

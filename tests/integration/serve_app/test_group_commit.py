"""Group commit: few transactions, and each request is accepted completely or not at all."""

import asyncio
import uuid
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db.acceptance import idempotency_keys, object_reservations
from db.acceptance.idempotency_keys import OwnedKey
from db.acceptance.quotas import UNLIMITED, Quotas
from db.connection import open_database
from db.values.error_catalogue import CatalogueError
from serve_app.submission.group_commit import AcceptRequest, GroupCommit
from tests.faults.injection.commit_proxy import AnswerProxy
from tests.support.state import database_rows

WAIT_SECONDS = 60


async def call_of(database: AsyncEngine, user_id: UUID, files: int = 1, key: OwnedKey | None = None) -> AcceptRequest:
    uploads = [database_rows.make_upload(user_id) for _ in range(files)]
    for upload in uploads:
        await object_reservations.reserve(database, user_id, upload.object_key)
    return AcceptRequest(uploads, key, "fingerprint")


async def key_of(database: AsyncEngine, user_id: UUID, key: str) -> OwnedKey:
    marker = OwnedKey(user_id, "POST /v1/videos", key, uuid.uuid4())
    assert await idempotency_keys.claim(database, marker) is None
    return marker


async def at_once(group_commit: GroupCommit, calls: Sequence[AcceptRequest]) -> list[bytes | BaseException]:
    async with asyncio.timeout(WAIT_SECONDS):
        return await asyncio.gather(*(group_commit.accept(call) for call in calls), return_exceptions=True)


def videos_in(answer: bytes | BaseException) -> list[str]:
    assert isinstance(answer, bytes), answer
    return [item["id"] for item in orjson.loads(answer)["items"]]


def code_in(answer: bytes | BaseException) -> str:
    assert isinstance(answer, CatalogueError), answer
    return answer.code


def videos_of(call: AcceptRequest) -> list[str]:
    return [str(upload.video_id) for upload in call.uploads]


def behind(database: AsyncEngine, folder: Path) -> str:
    """The address of the same database on a socket in another folder."""
    return database.url.set(query={"host": str(folder)}).render_as_string(hide_password=False)


async def stored(database: AsyncEngine) -> set[str]:
    async with database.connect() as connection:
        found = await connection.exec_driver_sql("SELECT id::text FROM videos")
        return set(found.scalars())


async def test_concurrent_requests_share_transactions_and_get_their_own_responses(database: AsyncEngine) -> None:
    users = [await database_rows.create_user(database, f"{number}@example.com") for number in range(5)]
    calls = [await call_of(database, users[number % 5], 1 + number % 3) for number in range(60)]
    answers = await at_once(GroupCommit(database, UNLIMITED), calls)
    assert [videos_in(answer) for answer in answers] == [videos_of(call) for call in calls]
    written = await database_rows.fetch_one(
        database, "SELECT count(DISTINCT xmin::text) AS n, count(*) AS all FROM acceptances"
    )
    assert written.all == sum(len(call.uploads) for call in calls)
    assert written.n <= 4
    opened = await database_rows.fetch_one(
        database,
        "SELECT bool_and(open = (SELECT count(*) FROM tasks WHERE tasks.user_id = shares.user_id AND state = 'ready'))"
        " AS right FROM shares",
    )
    assert opened.right


async def test_batch_refuses_only_the_request_without_its_reservation(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    calls = [await call_of(database, user, 2, await key_of(database, user, f"key {number}")) for number in range(8)]
    await object_reservations.abandon(database, [calls[3].uploads[1].object_key])
    answers = await at_once(GroupCommit(database, UNLIMITED), calls)
    assert [isinstance(answer, CatalogueError) for answer in answers] == [number == 3 for number in range(8)]
    assert code_in(answers[3]) == "unavailable"
    assert await stored(database) == {video for call in calls if call is not calls[3] for video in videos_of(call)}
    for call, answer in zip(calls, answers, strict=True):
        assert call.key is not None
        kept = await database_rows.fetch_one(
            database, "SELECT response FROM idempotency_keys WHERE owner = :owner", owner=call.key.owner
        )
        assert kept.response == (answer.decode() if isinstance(answer, bytes) else None)


async def test_request_whose_key_was_taken_over_stores_nothing_and_fails_no_other(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    lost = await key_of(database, user, "key")
    await database_rows.execute(database, "UPDATE idempotency_keys SET owner = gen_random_uuid()")
    calls = [await call_of(database, user), await call_of(database, user, key=lost), await call_of(database, user)]
    answers = await at_once(GroupCommit(database, UNLIMITED), calls)
    assert code_in(answers[1]) == "idempotency_in_progress"
    assert await stored(database) == {*videos_of(calls[0]), *videos_of(calls[2])}


async def test_requests_of_one_batch_cannot_exceed_a_quota(database: AsyncEngine) -> None:
    full, other = (
        await database_rows.create_user(database),
        await database_rows.create_user(database, "bob@example.com"),
    )
    calls = [await call_of(database, full if number % 2 else other, 2) for number in range(20)]
    await database_rows.accept_video(database, full)
    answers = await at_once(GroupCommit(database, Quotas(waiting=7)), calls)
    refused = [answer.code for answer in answers if isinstance(answer, CatalogueError)]
    assert refused == ["too_many_waiting"] * (20 - 3 - 3)
    counts = [
        (
            await database_rows.fetch_one(
                database, "SELECT count(*) AS n FROM extractions WHERE user_id = :id", id=user
            )
        ).n
        for user in (full, other)
    ]
    assert counts == [7, 6]


@pytest.mark.parametrize("accounts", [1, 3])
async def test_request_that_arrives_as_a_commit_ends_is_committed(database: AsyncEngine, accounts: int) -> None:
    users = [await database_rows.create_user(database, f"{number}@example.com") for number in range(accounts)]
    group_commit = GroupCommit(database, UNLIMITED)

    async def one_after_the_other(calls: Sequence[AcceptRequest]) -> None:
        for call in calls:
            await group_commit.accept(call)

    lines = [[await call_of(database, users[number % accounts]) for _ in range(40)] for number in range(3)]
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.gather(*(one_after_the_other(line) for line in lines))


async def test_batch_with_an_unconfirmed_commit_counts(database: AsyncEngine, server_folder: Path) -> None:
    user = await database_rows.create_user(database)
    calls = [await call_of(database, user, key=await key_of(database, user, f"key {number}")) for number in range(6)]
    proxy, folder = AnswerProxy(Path(str(database.url.query["host"]))), server_folder / uuid.uuid4().hex[:8]
    async with proxy.listening(folder):
        faulty = open_database(behind(database, folder), name="victim")
        try:
            async with faulty.connect():
                pass
            proxy.drop_after(0)
            answers = await at_once(GroupCommit(faulty, UNLIMITED), calls)
        finally:
            await faulty.dispose()
    assert proxy.dropped == 1
    assert [videos_in(answer) for answer in answers] == [videos_of(call) for call in calls]
    assert await stored(database) == {video for call in calls for video in videos_of(call)}


async def test_database_outage_is_reported_to_every_request(database: AsyncEngine, tmp_path: Path) -> None:
    calls = [await call_of(database, await database_rows.create_user(database, f"{n}@example.com")) for n in range(3)]
    away = open_database(behind(database, tmp_path), name="victim")
    answers = await at_once(GroupCommit(away, UNLIMITED), calls)
    await away.dispose()
    assert [type(answer).__name__ for answer in answers] == ["OperationalError"] * 3

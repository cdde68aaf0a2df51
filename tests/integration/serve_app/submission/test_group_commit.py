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


async def make_request(
    database: AsyncEngine, user_id: UUID, files: int = 1, key: OwnedKey | None = None
) -> AcceptRequest:
    uploads = [database_rows.make_upload(user_id) for _ in range(files)]
    for upload in uploads:
        await object_reservations.reserve(database, user_id, upload.object_key)
    return AcceptRequest(uploads, key, "fingerprint")


async def claim_key(database: AsyncEngine, user_id: UUID, key: str) -> OwnedKey:
    marker = OwnedKey(user_id, "POST /v1/videos", key, uuid.uuid4())
    assert await idempotency_keys.claim(database, marker) is None
    return marker


async def accept_all(group_commit: GroupCommit, requests: Sequence[AcceptRequest]) -> list[bytes | BaseException]:
    async with asyncio.timeout(WAIT_SECONDS):
        return await asyncio.gather(*(group_commit.accept(request) for request in requests), return_exceptions=True)


def video_ids_in(answer: bytes | BaseException) -> list[str]:
    assert isinstance(answer, bytes), answer
    return [item["id"] for item in orjson.loads(answer)["items"]]


def error_code_in(answer: bytes | BaseException) -> str:
    assert isinstance(answer, CatalogueError), answer
    return answer.code


def video_ids_of(request: AcceptRequest) -> list[str]:
    return [str(upload.video_id) for upload in request.uploads]


def url_on_socket(database: AsyncEngine, folder: Path) -> str:
    """The URL of the same database through a socket in this folder."""
    return database.url.set(query={"host": str(folder)}).render_as_string(hide_password=False)


async def stored_video_ids(database: AsyncEngine) -> set[str]:
    async with database.connect() as connection:
        rows = await connection.exec_driver_sql("SELECT id::text FROM videos")
        return set(rows.scalars())


async def test_concurrent_requests_share_transactions_and_get_their_own_responses(database: AsyncEngine) -> None:
    users = [await database_rows.create_user(database, f"{number}@example.com") for number in range(5)]
    requests = [await make_request(database, users[number % 5], 1 + number % 3) for number in range(60)]
    answers = await accept_all(GroupCommit(database, UNLIMITED), requests)
    assert [video_ids_in(answer) for answer in answers] == [video_ids_of(request) for request in requests]
    written = await database_rows.fetch_one(
        database, "SELECT count(DISTINCT xmin::text) AS n, count(*) AS all FROM acceptances"
    )
    assert written.all == sum(len(request.uploads) for request in requests)
    assert written.n <= 4
    opened = await database_rows.fetch_one(
        database,
        "SELECT bool_and(open = (SELECT count(*) FROM tasks WHERE tasks.user_id = shares.user_id AND state = 'ready'))"
        " AS right FROM shares",
    )
    assert opened.right


async def test_batch_refuses_only_the_request_without_its_reservation(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    requests = [
        await make_request(database, user, 2, await claim_key(database, user, f"key {number}")) for number in range(8)
    ]
    await object_reservations.abandon(database, [requests[3].uploads[1].object_key])
    answers = await accept_all(GroupCommit(database, UNLIMITED), requests)
    assert [isinstance(answer, CatalogueError) for answer in answers] == [number == 3 for number in range(8)]
    assert error_code_in(answers[3]) == "unavailable"
    assert await stored_video_ids(database) == {
        video for request in requests if request is not requests[3] for video in video_ids_of(request)
    }
    for request, answer in zip(requests, answers, strict=True):
        assert request.key is not None
        stored = await database_rows.fetch_one(
            database, "SELECT response FROM idempotency_keys WHERE owner = :owner", owner=request.key.owner
        )
        assert stored.response == (answer.decode() if isinstance(answer, bytes) else None)


async def test_request_whose_key_was_taken_over_stores_nothing_and_fails_no_other(database: AsyncEngine) -> None:
    user = await database_rows.create_user(database)
    lost_key = await claim_key(database, user, "key")
    await database_rows.execute(database, "UPDATE idempotency_keys SET owner = gen_random_uuid()")
    requests = [
        await make_request(database, user),
        await make_request(database, user, key=lost_key),
        await make_request(database, user),
    ]
    answers = await accept_all(GroupCommit(database, UNLIMITED), requests)
    assert error_code_in(answers[1]) == "idempotency_in_progress"
    assert await stored_video_ids(database) == {*video_ids_of(requests[0]), *video_ids_of(requests[2])}


async def test_requests_of_one_batch_cannot_exceed_a_quota(database: AsyncEngine) -> None:
    full, other = (
        await database_rows.create_user(database),
        await database_rows.create_user(database, "bob@example.com"),
    )
    requests = [await make_request(database, full if number % 2 else other, 2) for number in range(20)]
    await database_rows.accept_video(database, full)
    answers = await accept_all(GroupCommit(database, Quotas(waiting=7)), requests)
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

    async def accept_in_sequence(requests: Sequence[AcceptRequest]) -> None:
        for request in requests:
            await group_commit.accept(request)

    sequences = [[await make_request(database, users[number % accounts]) for _ in range(40)] for number in range(3)]
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.gather(*(accept_in_sequence(sequence) for sequence in sequences))


async def test_batch_with_an_unconfirmed_commit_counts(database: AsyncEngine, server_folder: Path) -> None:
    user = await database_rows.create_user(database)
    requests = [
        await make_request(database, user, key=await claim_key(database, user, f"key {number}")) for number in range(6)
    ]
    proxy, folder = AnswerProxy(Path(str(database.url.query["host"]))), server_folder / uuid.uuid4().hex[:8]
    async with proxy.listening(folder):
        faulty = open_database(url_on_socket(database, folder), name="victim")
        try:
            async with faulty.connect():
                pass
            proxy.drop_after(0)
            answers = await accept_all(GroupCommit(faulty, UNLIMITED), requests)
        finally:
            await faulty.dispose()
    assert proxy.dropped == 1
    assert [video_ids_in(answer) for answer in answers] == [video_ids_of(request) for request in requests]
    assert await stored_video_ids(database) == {video for request in requests for video in video_ids_of(request)}


async def test_database_outage_is_reported_to_every_request(database: AsyncEngine, tmp_path: Path) -> None:
    requests = [
        await make_request(database, await database_rows.create_user(database, f"{n}@example.com")) for n in range(3)
    ]
    unreachable = open_database(url_on_socket(database, tmp_path), name="victim")
    answers = await accept_all(GroupCommit(unreachable, UNLIMITED), requests)
    await unreachable.dispose()
    assert [type(answer).__name__ for answer in answers] == ["OperationalError"] * 3

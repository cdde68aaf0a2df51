"""The erasure of an account deletes everything of the account, and the ledger stays balanced."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from db import account_erasure
from db.acceptance import acceptance_audit, object_reservations
from db.notification import outbox
from db.object_store.object_keys import video_key
from db.queue import task_queue
from db.queue.task_queue import LeaseLost
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.routes import accounts
from serve_app.security.rate_limit import RateLimit, RateLimiter
from tests.support.clients import api_client, tus_client
from tests.support.clients.api_client import MP4, PASSWORD, log_in, open_client, status_and_code, upload_video
from tests.support.state import database_rows, whole_account
from tests.support.state.maintenance_setup import make_maintenance
from tests.support.state.whole_account import WholeAccount
from tests.support.wait_conditions import wait_until

ANA = {"email": "ana@example.org", "password": PASSWORD}
LEDGER_TABLES = {"acceptances", "tombstones"}
"""The tables that keep rows of an erased account: random ids and times of the ledger."""


async def erase(client: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
    return await client.request("DELETE", "/v1/me", json={"password": password})


async def collect_garbage(deps: Deps) -> None:
    cleaner = make_maintenance(deps.database, deps.objects).garbage_cleaner
    while await cleaner.run():
        pass


async def stored_keys(deps: Deps) -> list[str]:
    return await deps.objects.keys("videos") + await deps.objects.keys("results")


def has_word(word: str, row: str) -> bool:
    """Whether the word stands by itself. As a part of another one, it may be of the hash of a password."""
    return re.search(rf"\b{word}\b", row) is not None


async def assert_gone(deps: Deps, account: WholeAccount) -> None:
    counts = await whole_account.rows_of_user(deps.database, account.user_id)
    assert set(counts) > LEDGER_TABLES
    assert {table for table, count in counts.items() if count} == LEDGER_TABLES
    rows = await whole_account.all_rows(deps.database)
    assert not [row for row in rows if has_word("ana", row[1]) and row[0] not in LEDGER_TABLES]
    assert (await acceptance_audit.compare(deps.database)).total.balanced


@pytest.fixture
async def account(ana: httpx.AsyncClient, deps: Deps) -> WholeAccount:
    """Ana's account, with at least one row in each table."""
    account = await whole_account.add_ended_and_running(ana, deps, "ana")
    await whole_account.add_waiting(ana, deps, account, "ana")
    return account


async def test_erasure_deletes_everything_of_the_account_and_nothing_of_others(
    ana: httpx.AsyncClient, bob: httpx.AsyncClient, deps: Deps
) -> None:
    account = await whole_account.add_ended_and_running(ana, deps, "ana")
    other = await whole_account.add_ended_and_running(bob, deps, "bob")
    await whole_account.add_waiting(bob, deps, other, "bob")
    await whole_account.add_waiting(ana, deps, account, "ana")
    counts = await whole_account.rows_of_user(deps.database, account.user_id)
    assert not [table for table, count in counts.items() if not count]
    before = await whole_account.all_rows(deps.database)
    await collect_garbage(deps)
    ids = await whole_account.object_ids(deps.database, account.user_id)
    bobs_keys = [key for key in await stored_keys(deps) if key.split("/")[1] not in ids]
    bobs_before = await whole_account.rows_of_user(deps.database, other.user_id)

    assert (await erase(ana)).status_code == 204

    await assert_gone(deps, account)
    after = await whole_account.all_rows(deps.database)
    changed_tables = {table for table, _ in after - before}
    assert changed_tables <= {"tombstones", "garbage", "queue_state"}
    assert await whole_account.rows_of_user(deps.database, other.user_id) == bobs_before
    assert not [row for _, row in before - after if has_word("bob", row) or str(other.user_id) in row]
    await collect_garbage(deps)
    assert await stored_keys(deps) == bobs_keys
    downloaded = await bob.get(f"/v1/extractions/{other.succeeded['extraction']['id']}/frames.zip")
    assert downloaded.status_code == 200


async def test_no_object_of_an_erased_account_is_left_after_the_garbage_job(
    ana: httpx.AsyncClient, deps: Deps, account: WholeAccount
) -> None:
    assert await stored_keys(deps)
    assert (await erase(ana)).status_code == 204
    await collect_garbage(deps)
    assert await stored_keys(deps) == []
    assert await whole_account.rows_of_user(deps.database, account.user_id)
    assert (await database_rows.fetch_one(deps.database, "SELECT count(*) AS n FROM garbage")).n == 0


async def test_every_acceptance_of_an_erased_account_has_its_tombstone(
    ana: httpx.AsyncClient, deps: Deps, account: WholeAccount
) -> None:
    before = (await acceptance_audit.compare(deps.database)).total
    await erase(ana)
    ledger = await acceptance_audit.compare(deps.database)
    assert ledger.total.balanced
    assert (ledger.total.accepted, ledger.total.deleted) == (before.accepted, before.accepted)
    assert [(of_user.user_id, of_user.email) for of_user in ledger.accounts] == [(account.user_id, None)]


async def test_running_extraction_loses_its_lease_and_nobody_is_notified(
    ana: httpx.AsyncClient, deps: Deps, account: WholeAccount
) -> None:
    await account_erasure.mark(deps.database, account.user_id)
    assert await outbox.take(deps.database, "email") == []
    await account_erasure.erase(deps.database, account.user_id, max_videos=1)
    # The running extraction is deleted first.
    with pytest.raises(LeaseLost):
        await task_queue.heartbeat(deps.database, account.running.lease, frames_done=1)
    assert await outbox.take(deps.database, "email") == []


async def test_every_session_ends_and_the_email_is_free_again(ana: httpx.AsyncClient, deps: Deps) -> None:
    async with open_client(create_app(deps)) as other:
        tokens = await log_in(other)
        await other.post("/session", json=ANA)
        await upload_video(ana)
        assert (await erase(ana)).status_code == 204
        for client in (ana, other):
            assert status_and_code(await client.get("/v1/me")) == (401, "unauthenticated")
        del other.headers["Authorization"]
        assert (await other.get("/v1/me")).status_code == 401
        refreshed = await other.post("/v1/tokens/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert status_and_code(refreshed) == (401, "unauthenticated")
        assert status_and_code(await other.post("/v1/tokens", json=ANA)) == (401, "bad_credentials")
        other.cookies.clear()
        await log_in(other)
        assert (await other.get("/v1/me")).json()["use"]["videos"] == 0


async def test_sessions_end_with_the_mark_before_any_row_is_deleted(visitor: httpx.AsyncClient, deps: Deps) -> None:
    tokens = await log_in(visitor)
    assert await account_erasure.mark(deps.database, UUID((await visitor.get("/v1/me")).json()["id"]))
    assert (await database_rows.fetch_one(deps.database, "SELECT count(*) AS n FROM sessions")).n == 1
    for path in ("/v1/me", "/v1/videos"):
        assert status_and_code(await visitor.get(path)) == (401, "unauthenticated")
    refreshed = await visitor.post("/v1/tokens/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert status_and_code(refreshed) == (401, "unauthenticated")
    assert status_and_code(await visitor.post("/v1/tokens", json=ANA)) == (401, "bad_credentials")


async def test_wrong_password_erases_nothing_and_is_limited_as_a_login(deps: Deps) -> None:
    limited_by_email = replace(deps, email_rate_limiter=RateLimiter(RateLimit(4, 60)))
    async with open_client(create_app(limited_by_email)) as client:
        await log_in(client)
        await upload_video(client)
        assert status_and_code(await erase(client, "wrong horse")) == (401, "bad_credentials")
        assert (await client.get("/v1/me")).json()["use"]["videos"] == 1
        answers = [await erase(client, "guess") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        assert status_and_code(await erase(client)) == (429, "too_many_requests")
    limited_by_address = replace(deps, address_rate_limiter=RateLimiter(RateLimit(2, 60)))
    async with open_client(create_app(limited_by_address)) as client:
        await log_in(client)
        assert status_and_code(await erase(client)) == (429, "too_many_requests")


@pytest.mark.parametrize("body", [None, {}, {"password": ""}, {"password": PASSWORD, "sure": True}])
async def test_erasure_needs_a_body_with_the_password_alone(ana: httpx.AsyncClient, body: Any) -> None:
    answer = await ana.request("DELETE", "/v1/me", json=body)
    assert answer.status_code in {400, 415, 422}
    assert (await ana.get("/v1/me")).status_code == 200


class TestInterrupted:
    """Erasures that stop before everything is deleted. Maintenance finishes them."""

    async def test_maintenance_deletes_what_one_request_does_not(
        self, ana: httpx.AsyncClient, deps: Deps, account: WholeAccount, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(accounts, "ERASED_AT_ONCE", 1)
        assert (await erase(ana)).status_code == 204
        assert (await whole_account.rows_of_user(deps.database, account.user_id))["videos"] > 1
        assert (await ana.get("/v1/me")).status_code == 401
        assert await make_eraser(deps).run() == 1
        await assert_gone(deps, account)
        assert await make_eraser(deps).run() == 0

    async def test_database_that_refuses_a_deletion_leaves_the_rest_to_maintenance(
        self, ana: httpx.AsyncClient, deps: Deps, account: WholeAccount
    ) -> None:
        refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$"
        await database_rows.execute(deps.database, refuse)
        trigger = "CREATE TRIGGER refuse BEFORE DELETE ON videos FOR EACH ROW EXECUTE FUNCTION refuse()"
        await database_rows.execute(deps.database, trigger)
        assert (await erase(ana)).status_code == 204
        assert (await ana.get("/v1/me")).status_code == 401
        await database_rows.execute(deps.database, "DROP TRIGGER refuse ON videos")
        assert await make_eraser(deps).run() == 1
        await assert_gone(deps, account)

    async def test_two_processes_erase_one_account_at_the_same_time(self, deps: Deps, account: WholeAccount) -> None:
        assert await account_erasure.mark(deps.database, account.user_id)
        assert not await account_erasure.mark(deps.database, account.user_id)
        await asyncio.gather(*(account_erasure.erase(deps.database, account.user_id, max_videos=100) for _ in range(4)))
        assert await account_erasure.erase(deps.database, account.user_id, max_videos=100)
        await assert_gone(deps, account)


class TestRequestsDuringErasure:
    """Requests that were authenticated before the erasure and continue after it."""

    async def test_upload_that_is_being_received_is_not_accepted(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + MP4
            await wait_until(lambda: has_reservation(deps))
            assert (await erase(ana)).status_code == 204
            yield b"\r\n--b--\r\n"

        headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(len(MP4) + 1000)}
        answer = await ana.post("/v1/videos", content=body(), headers=headers)
        assert answer.status_code in {401, 503}, answer.text
        await collect_garbage(deps)
        assert await api_client.stored_state(deps.database, deps.objects) == api_client.NOTHING_STORED

    async def test_chunk_that_is_being_received_is_not_kept(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        path = await tus_client.open_upload(ana, len(MP4))

        async def body() -> AsyncIterator[bytes]:
            yield MP4[:6000]
            assert (await erase(ana)).status_code == 204
            yield MP4[6000:]

        assert (await tus_client.patch(ana, path, 0, body())).status_code in {401, 404, 409, 410}
        await collect_garbage(deps)
        assert await api_client.stored_state(deps.database, deps.objects) == api_client.NOTHING_STORED

    async def test_mark_waits_for_open_transactions_and_refuses_later_ones(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        user_id = (await ana.get("/v1/me")).json()["id"]
        key = video_key(user_id)
        async with deps.database.begin() as writing:
            await writing.execute(object_reservations.RESERVE, {"object_key": key, "user_id": user_id})
            marking = asyncio.create_task(account_erasure.mark(deps.database, user_id))
            await wait_until(lambda: is_waiting_for_lock(deps))
            assert not marking.done()
        assert await marking
        with pytest.raises(Exception, match="unauthenticated"):
            await object_reservations.reserve(deps.database, user_id, f"{key}0")
        assert await account_erasure.erase(deps.database, user_id, max_videos=10)
        row = await database_rows.fetch_one(deps.database, "SELECT object_key FROM garbage")
        assert row.object_key == key

    async def test_request_after_the_last_row_is_answered_as_unauthenticated(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        """The account is erased between the authentication and the write of the request."""

        async def body() -> AsyncIterator[bytes]:
            assert (await erase(ana)).status_code == 204
            yield b'{"url": "https://example.org/hook", "events": ["extraction.failed"]}'

        for key in ({}, {"Idempotency-Key": "k"}):
            await log_in(ana)
            headers = key | {"Content-Type": "application/json"}
            answer = await ana.post("/v1/webhooks", content=body(), headers=headers)
            assert status_and_code(answer) == (401, "unauthenticated")


def make_eraser(deps: Deps) -> Any:
    return make_maintenance(deps.database, deps.objects).account_eraser


async def has_reservation(deps: Deps) -> bool:
    return bool((await database_rows.fetch_one(deps.database, "SELECT count(*) AS n FROM reservations")).n)


async def is_waiting_for_lock(deps: Deps) -> bool:
    statement = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted"
    return bool((await database_rows.fetch_one(deps.database, statement)).n)

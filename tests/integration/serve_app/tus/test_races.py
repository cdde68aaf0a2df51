"""Uploads by tus during other events: other requests and replicas, the erasure of the account, an expired token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import httpx
import pytest

from db.acceptance import resumable_uploads
from db.acceptance.quotas import Quotas
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.submission import receive_chunks
from tests.support.clients import api_client, tus_client
from tests.support.clients.api_client import MP4, PASSWORD, status_and_code
from tests.support.clients.tus_client import TUS
from tests.support.state import database_rows


class PausedBody:
    """A request body. Its first 4,000 bytes are sent at once, the rest when `may_end` is set."""

    def __init__(self, content: bytes = MP4) -> None:
        self._content = content
        self.has_started, self.may_end = asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content[:4000]
        self.has_started.set()
        await self.may_end.wait()
        yield self._content[4000:]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_chunks, "CHUNK_BYTES", 4000)


async def count_rows(deps: Deps, table: str) -> int:
    return int((await database_rows.fetch_one(deps.database, f"SELECT count(*) AS n FROM {table}")).n)


async def wait_until_offset(client: httpx.AsyncClient, path: str, offset: int) -> None:
    async with asyncio.timeout(20):
        while await tus_client.committed_offset(client, path) != offset:
            await asyncio.sleep(0.01)


async def test_head_during_a_patch_shows_the_committed_offset(ana: httpx.AsyncClient) -> None:
    path, body = await tus_client.open_upload(ana, len(MP4)), PausedBody()
    patch = asyncio.create_task(tus_client.patch(ana, path, 0, body))
    await body.has_started.wait()
    await wait_until_offset(ana, path, 4000)
    assert not patch.done()
    body.may_end.set()
    assert (await patch).headers["upload-offset"] == str(len(MP4))


async def test_newer_patch_succeeds_and_the_hanging_older_one_is_a_conflict(ana: httpx.AsyncClient, deps: Deps) -> None:
    path, body = await tus_client.open_upload(ana, len(MP4)), PausedBody()
    old_request = asyncio.create_task(tus_client.patch(ana, path, 0, body))
    await wait_until_offset(ana, path, 4000)
    assert (await tus_client.patch(ana, path, 4000, MP4[4000:])).status_code == 204
    body.may_end.set()
    assert status_and_code(await old_request) == (409, "upload_conflict")
    assert await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(path)) == MP4
    assert len(await tus_client.chunk_keys(deps.objects, path)) == 3
    assert await count_rows(deps, "extractions") == 1


@pytest.mark.parametrize("sent", [4000, len(MP4)], ids=["moved on", "complete"])
async def test_first_bytes_that_are_no_video_are_a_conflict_when_another_request_was_first(
    ana: httpx.AsyncClient, deps: Deps, sent: int
) -> None:
    path, has_started, may_end = await tus_client.open_upload(ana, len(MP4)), asyncio.Event(), asyncio.Event()

    async def junk() -> AsyncIterator[bytes]:
        yield b"no video " * 10
        has_started.set()
        await may_end.wait()
        yield b"no video " * 500

    loser = asyncio.create_task(tus_client.patch(ana, path, 0, junk()))
    await has_started.wait()
    assert (await tus_client.patch(ana, path, 0, MP4[:sent])).status_code == 204
    may_end.set()
    assert status_and_code(await loser) == (409, "upload_conflict")
    if sent < len(MP4):
        assert await tus_client.committed_offset(ana, path) == sent
        assert (await tus_client.patch(ana, path, sent, MP4[sent:])).status_code == 204
    assert await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(path)) == MP4
    assert [await count_rows(deps, table) for table in ("videos", "garbage")] == [1, 0]


async def test_termination_during_a_patch_ends_both_and_leaves_only_garbage(ana: httpx.AsyncClient, deps: Deps) -> None:
    path, body = await tus_client.open_upload(ana, len(MP4)), PausedBody()
    patch = asyncio.create_task(tus_client.patch(ana, path, 0, body))
    await wait_until_offset(ana, path, 4000)
    assert (await ana.delete(path, headers=TUS)).status_code == 204
    body.may_end.set()
    assert status_and_code(await patch) == (410, "upload_gone")
    assert status_and_code(await tus_client.patch(ana, path, 4000, MP4[4000:])) == (410, "upload_gone")
    assert [await count_rows(deps, table) for table in ("videos", "upload_chunks", "garbage")] == [0, 0, 1]
    # The only chunk is from before the termination, and is garbage. No chunk was added after it.
    assert len(await tus_client.chunk_keys(deps.objects, path)) == 1


@pytest.mark.parametrize("is_deferred", [False, True])
async def test_last_bytes_sent_to_two_replicas_at_once_create_one_video(
    ana: httpx.AsyncClient, deps: Deps, tmp_path: Path, is_deferred: bool
) -> None:
    other = api_client.make_deps(deps.database, tmp_path / "objects", deps.cache)
    async with api_client.open_client(create_app(other), headers=ana.headers) as replica:
        for _ in range(5):
            path = await tus_client.open_upload(ana, None if is_deferred else len(MP4))
            headers = {"Upload-Length": str(len(MP4))} if is_deferred else {}
            sent = len(MP4) if is_deferred else 4000
            await tus_client.patch(ana, path, 0, MP4[:sent])
            answers = await asyncio.gather(
                *(tus_client.patch(client, path, sent, MP4[sent:], headers) for client in (ana, replica) * 2)
            )
            statuses = sorted(answer.status_code for answer in answers)
            assert statuses[0] == 204
            assert set(statuses) <= {204, 409}
            assert await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(path)) == MP4
            assert (await ana.head(path, headers=TUS)).headers["video-location"].endswith(tus_client.id_of(path))
    assert [await count_rows(deps, table) for table in ("videos", "extractions", "tasks", "acceptances")] == [5] * 4
    other.password_hasher.close()


async def test_account_that_is_erased_during_a_patch_gets_no_video_and_leaves_only_garbage(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    path, body = await tus_client.open_upload(ana, len(MP4)), PausedBody()
    patch = asyncio.create_task(tus_client.patch(ana, path, 0, body))
    await wait_until_offset(ana, path, 4000)
    assert (await ana.request("DELETE", "/v1/me", json={"password": PASSWORD})).status_code == 204
    body.may_end.set()
    assert status_and_code(await patch) == (404, "not_found")
    tables = ("users", "uploads", "upload_chunks", "videos", "extractions", "garbage")
    assert [await count_rows(deps, table) for table in tables] == [0, 0, 0, 0, 0, 1]
    assert len(await tus_client.chunk_keys(deps.objects, path)) == 1


async def test_token_that_expires_during_a_patch_does_not_end_it(
    ana: httpx.AsyncClient, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AfterTheToken(datetime):
        """To wait for the end of a short token would be a race: it might expire before the request begins."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=deps.access_seconds + 1)

    path, body = await tus_client.open_upload(ana, len(MP4)), PausedBody()
    patch = asyncio.create_task(tus_client.patch(ana, path, 0, body))
    await body.has_started.wait()
    monkeypatch.setattr("jwt.api_jwt.datetime", AfterTheToken)
    assert status_and_code(await ana.get("/v1/me")) == (401, "token_expired")
    body.may_end.set()
    assert (await patch).headers["video-location"] == f"/v1/videos/{tus_client.id_of(path)}"


async def test_creation_whose_bytes_are_refused_still_has_the_location_of_the_upload(ana: httpx.AsyncClient) -> None:
    refused = await tus_client.create(ana, len(MP4), MP4, headers=tus_client.checksum(b"other bytes"))
    assert status_and_code(refused) == (460, "chunk_checksum_mismatch")
    assert (await ana.delete(refused.headers["location"], headers=TUS)).status_code == 204


async def test_small_chunks_are_limited_and_larger_chunks_are_still_accepted(
    ana: httpx.AsyncClient, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable_uploads, "MAX_SMALL_CHUNKS", 3)
    monkeypatch.setattr(resumable_uploads, "SMALL_CHUNK_BYTES", 100)
    path = await tus_client.open_upload(ana, len(MP4))
    for start in range(3):
        assert (await tus_client.patch(ana, path, start, MP4[start : start + 1])).status_code == 204
    refused = await tus_client.patch(ana, path, 3, MP4[3:4])
    assert status_and_code(refused) == (422, "too_many_chunks")
    assert "pieces" in refused.json()["remedy"]
    assert len(await tus_client.chunk_keys(deps.objects, path)) == 3
    assert (await tus_client.patch(ana, path, 3, MP4[3:300])).status_code == 204
    assert (await tus_client.patch(ana, path, 300, MP4[300:])).status_code == 204
    assert await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(path)) == MP4


async def test_concurrent_uploads_of_deferred_length_never_exceed_the_quota(
    ana: httpx.AsyncClient, deps: Deps, tmp_path: Path
) -> None:
    limits = api_client.make_limits(quotas=Quotas(stored_bytes=int(2.5 * 4000)))
    limited = api_client.make_deps(deps.database, tmp_path / "objects", deps.cache, limits=limits)
    async with api_client.open_client(create_app(limited), headers=ana.headers) as client:
        for _ in range(5):
            paths = [await tus_client.open_upload(client, None) for _ in range(6)]
            answers = await asyncio.gather(*(tus_client.patch(client, path, 0, MP4[:4000]) for path in paths))
            assert sorted(answer.status_code for answer in answers) == [204] * 2 + [429] * 4
            for path in paths:
                await client.delete(path, headers=TUS)
    limited.password_hasher.close()


@pytest.mark.parametrize(
    ("quota", "max_uploads", "code"),
    [(Quotas(waiting=2), 2, "too_many_waiting"), (Quotas(stored_bytes=3 * len(MP4)), 3, "quota_exceeded")],
)
async def test_concurrent_creations_in_two_replicas_never_exceed_a_quota_and_all_can_be_finished(
    deps: Deps, tmp_path: Path, quota: Quotas, max_uploads: int, code: str
) -> None:
    limits = api_client.make_limits(quotas=quota)
    first_deps, second_deps = (
        api_client.make_deps(deps.database, tmp_path / "objects", deps.cache, limits=limits) for _ in range(2)
    )
    async with (
        api_client.open_client(create_app(first_deps)) as first,
        api_client.open_client(create_app(second_deps)) as second,
    ):
        await api_client.log_in(first)
        second.headers["Authorization"] = first.headers["Authorization"]
        answers = await asyncio.gather(*(tus_client.create(client, len(MP4)) for client in (first, second) * 5))
        created = [answer.headers["location"] for answer in answers if answer.status_code == 201]
        refused = [status_and_code(answer) for answer in answers if answer.status_code != 201]
        assert (len(created), refused) == (max_uploads, [(429, code)] * (10 - max_uploads))
        for path in created:
            assert "video-location" in (await tus_client.patch(second, path, 0, MP4)).headers
    for app_deps in (first_deps, second_deps):
        app_deps.password_hasher.close()

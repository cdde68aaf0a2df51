"""Uploads with a repeated idempotency key, a disconnecting client, or a failing store or database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.acceptance import idempotency_keys
from db.acceptance.idempotency_keys import OwnedKey
from db.object_store.folder_store import FolderStore
from db.object_store.object_store import StoredObject
from db.values.error_catalogue import CatalogueError
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients.api_client import (
    MP4,
    NOTHING_STORED,
    WEBM,
    log_in,
    open_client,
    status_and_code,
    stored_state,
    upload_videos,
)
from tests.support.state.disturbed_database import DisturbedDatabase

KEYED = {"Idempotency-Key": "key-1"}


class TestIdempotencyKey:
    """The same request with the same key gets the same response."""

    async def test_repeated_request_gets_the_same_response_and_creates_nothing(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        first = await upload_videos(ana, ("a.mp4", MP4), spec='{"sample":{"fps":0.5}}', headers=KEYED)
        # The boundary, the order of the parts and the spelling of the number differ.
        again = await ana.post(
            "/v1/videos",
            files=[("spec", (None, b'{"sample": {"mode": "fps", "fps": 0.50}}')), ("file", ("a.mp4", MP4))],
            headers=KEYED,
        )
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert (await stored_state(deps.database, deps.objects))[:2] == (1, 0)
        assert len((await stored_state(deps.database, deps.objects))[2]) == 1

    @pytest.mark.parametrize(
        ("file", "spec"),
        [(("b.mp4", MP4), None), (("a.mp4", MP4 + b"x"), None), (("a.mp4", MP4), '{"sample":{"fps":2}}')],
    )
    async def test_reused_key_with_another_request_is_refused(
        self, ana: httpx.AsyncClient, deps: Deps, file: tuple[str, bytes], spec: str | None
    ) -> None:
        await upload_videos(ana, ("a.mp4", MP4), headers=KEYED)
        assert status_and_code(await upload_videos(ana, file, spec=spec, headers=KEYED)) == (
            422,
            "idempotency_key_reused",
        )
        assert len((await stored_state(deps.database, deps.objects))[2]) == 1

    async def test_second_request_during_the_first_is_idempotency_in_progress(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        started, may_finish = asyncio.Event(), asyncio.Event()

        class SlowStore(FolderStore):
            async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
                started.set()
                await may_finish.wait()
                return await super().put(key, chunks)

        assert isinstance(deps.objects, FolderStore)
        slow = replace(deps, objects=SlowStore(deps.objects._root))
        async with open_client(create_app(slow), headers=ana.headers) as client:
            first = asyncio.create_task(upload_videos(client, ("a.mp4", MP4), headers=KEYED))
            await started.wait()
            assert status_and_code(await upload_videos(ana, ("a.mp4", MP4), headers=KEYED)) == (
                409,
                "idempotency_in_progress",
            )
            may_finish.set()
            assert (await first).status_code == 201

    async def test_refused_upload_leaves_its_idempotency_key_unused(self, ana: httpx.AsyncClient) -> None:
        assert (await upload_videos(ana, ("a.mp4", b"text"), headers=KEYED)).status_code == 422
        assert (await upload_videos(ana, ("a.mp4", MP4), headers=KEYED)).status_code == 201

    async def test_idempotency_keys_are_separate_per_user(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        first = await upload_videos(ana, ("a.mp4", MP4), headers=KEYED)
        async with open_client(create_app(deps)) as bob:
            await log_in(bob, "bob@example.org")
            second = await upload_videos(bob, ("b.mp4", WEBM), headers=KEYED)
        assert second.status_code == 201
        assert first.json()["items"][0]["id"] != second.json()["items"][0]["id"]

    async def test_request_of_a_dead_server_can_be_repeated(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        await upload_videos(ana, ("a.mp4", MP4), headers=KEYED)
        async with deps.database.begin() as connection:
            await connection.execute(
                text(
                    "UPDATE idempotency_keys SET response = NULL, fingerprint = NULL, status = NULL,"
                    " lease_expires_at = clock_timestamp() - interval '1 second'"
                )
            )
        assert (await upload_videos(ana, ("a.mp4", MP4), headers=KEYED)).status_code == 201

    @pytest.mark.parametrize("key", ["", "x" * 256, "a b"])
    async def test_key_with_invisible_characters_is_refused(self, ana: httpx.AsyncClient, key: str) -> None:
        answer = await upload_videos(ana, ("a.mp4", MP4), headers={"Idempotency-Key": key})
        assert status_and_code(answer) == (422, "invalid_field")


class TestFaults:
    """A part of the service fails while it receives a request."""

    async def test_full_store_is_reported_and_stores_nothing(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        class FullStore(FolderStore):
            async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
                if await self.keys("videos"):
                    raise CatalogueError("storage_full", retry_after=60)
                return await super().put(key, chunks)

        assert isinstance(deps.objects, FolderStore)
        full = replace(deps, objects=FullStore(deps.objects._root))
        async with open_client(create_app(full), headers=ana.headers) as client:
            answer = await upload_videos(client, ("a.mp4", MP4), ("b.mp4", MP4))
        assert status_and_code(answer) == (507, "storage_full")
        assert answer.headers["retry-after"] == "60"
        assert await stored_state(deps.database, deps.objects) == NOTHING_STORED

    async def test_unexpected_error_stores_nothing_and_reveals_nothing(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        class BrokenStore(FolderStore):
            async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
                await super().put(key, chunks)
                raise ZeroDivisionError("a secret of the code")

        assert isinstance(deps.objects, FolderStore)
        broken = replace(deps, objects=BrokenStore(deps.objects._root))
        async with open_client(create_app(broken), headers=ana.headers) as client:
            answer = await upload_videos(client, ("a.mp4", MP4))
        assert status_and_code(answer) == (500, "internal")
        assert "secret" not in answer.text
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert await stored_state(deps.database, deps.objects) == NOTHING_STORED

    async def test_upload_to_a_process_that_is_ending_is_refused_with_503_and_stores_nothing(
        self, ana: httpx.AsyncClient, deps: Deps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Python sets it at the end of the process: threads that still run get no more work done by others.
        monkeypatch.setattr("concurrent.futures.thread._shutdown", True)
        answer = await upload_videos(ana, ("a.mp4", MP4))
        assert status_and_code(answer) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        monkeypatch.undo()
        assert await stored_state(deps.database, deps.objects) == NOTHING_STORED

    async def test_cancelled_request_leaves_no_rows_and_at_most_a_reserved_object(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        started = asyncio.Event()

        async def stuck_body() -> AsyncIterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + MP4
            started.set()
            await asyncio.Event().wait()

        headers = {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}
        call = asyncio.create_task(ana.post("/v1/videos", content=stuck_body(), headers=headers))
        await started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await deps.objects.keys("videos") == []
        async with deps.database.connect() as connection:
            statement = text("SELECT count(*) FROM reservations WHERE abandoned_at IS NULL")
            assert (await connection.execute(statement)).scalar() == 0


class TestCommit:
    """Faults at the COMMIT. Transactions of a request without a key: 1 reserves, 2 accepts."""

    async def test_commit_with_a_lost_response_counts_when_its_rows_exist(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        async def lose_the_answer() -> None:
            raise OperationalError("COMMIT", {}, ConnectionResetError())

        disturbed: Any = DisturbedDatabase(deps.database, 2, lose_the_answer)
        async with open_client(create_app(replace(deps, database=disturbed)), headers=ana.headers) as client:
            answer = await upload_videos(client, ("a.mp4", MP4))
        assert answer.status_code == 201
        video = answer.json()["items"][0]
        assert (await ana.get(f"/v1/videos/{video['id']}")).json() == video
        assert await stored_state(deps.database, deps.objects) == (1, 0, [f"videos/{video['id']}"])

    async def test_failed_reservation_stores_nothing(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        async def fail() -> None:
            raise OperationalError("COMMIT", {}, ConnectionResetError())

        disturbed: Any = DisturbedDatabase(deps.database, 1, fail)
        async with open_client(create_app(replace(deps, database=disturbed)), headers=ana.headers) as client:
            assert status_and_code(await upload_videos(client, ("a.mp4", MP4))) == (503, "unavailable")
        assert await stored_state(deps.database, deps.objects) == NOTHING_STORED

    @pytest.mark.parametrize("nth", [1, 2], ids=["of the key", "of the reservation"])
    async def test_idempotency_key_is_usable_as_soon_as_the_database_is_back(
        self, ana: httpx.AsyncClient, deps: Deps, monkeypatch: pytest.MonkeyPatch, nth: int
    ) -> None:
        release, tries = idempotency_keys.release, []

        async def fail() -> None:
            raise OperationalError("COMMIT", {}, ConnectionResetError())

        async def release_when_back(database: AsyncEngine, owned: OwnedKey) -> None:
            tries.append(owned)
            await (fail() if len(tries) < 3 else release(database, owned))

        monkeypatch.setattr("db.acceptance.idempotency_keys.release", release_when_back)
        disturbed: Any = DisturbedDatabase(deps.database, nth, fail)
        async with open_client(create_app(replace(deps, database=disturbed)), headers=ana.headers) as client:
            assert status_and_code(await upload_videos(client, ("a.mp4", MP4), headers=KEYED)) == (503, "unavailable")
        async with asyncio.timeout(60):
            while (answer := await upload_videos(ana, ("a.mp4", MP4), headers=KEYED)).status_code == 409:
                await asyncio.sleep(0.05)
        assert answer.status_code == 201

    async def test_committed_upload_stays_after_a_disconnect(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        committed, may_continue = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            committed.set()
            await may_continue.wait()

        disturbed: Any = DisturbedDatabase(deps.database, 3, wait)
        async with open_client(create_app(replace(deps, database=disturbed)), headers=ana.headers) as client:
            call = asyncio.create_task(upload_videos(client, ("a.mp4", MP4), headers=KEYED))
            await committed.wait()
            call.cancel()
            may_continue.set()
            with pytest.raises(asyncio.CancelledError):
                await call
        videos, reservations, keys = await stored_state(deps.database, deps.objects)
        assert (videos, reservations, len(keys)) == (1, 0, 1)
        again = await upload_videos(ana, ("a.mp4", MP4), headers=KEYED)
        assert again.headers["idempotency-replayed"] == "true"
        assert (await stored_state(deps.database, deps.objects))[0] == 1

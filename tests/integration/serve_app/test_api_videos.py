"""Accepting, listing, showing and deleting videos over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.acceptance import idempotency_keys
from db.acceptance.idempotency_keys import OwnedKey
from db.object_store.folder_store import FolderStore
from db.object_store.object_store import StoredObject
from db.values.error_catalogue import CatalogueError
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.api_client import MP4, WEBM, accepted, client_of, left_behind, log_in, send

NOTHING = (0, 0, [])
KEYED = {"Idempotency-Key": "key-1"}


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def test_several_files_are_accepted_with_one_spec(ana: httpx.AsyncClient, deps: Deps) -> None:
    answer = await send(ana, ("a.mp4", MP4), ("férias.webm", WEBM), spec='{"sample": {"fps": 0.10}}')
    assert answer.status_code == 201
    first, second = answer.json()["items"]
    assert [first["filename"], second["filename"]] == ["a.mp4", "férias.webm"]
    assert first["size"] == len(MP4)
    assert first["sha256"] == hashlib.sha256(MP4).hexdigest()
    assert first["status"] == first["extraction"]["status"] == "queued"
    assert first["extraction"]["spec"]["sample"] == {"mode": "fps", "fps": 0.1}
    assert first["extraction"]["spec"] == second["extraction"]["spec"]
    assert first["extraction"]["progress"]["queue_position"] == 1
    videos, reservations, keys = await left_behind(deps.database, deps.objects)
    assert (videos, reservations) == (2, 0)
    assert keys == sorted(f"videos/{video['id']}" for video in (first, second))
    stored = b"".join([chunk async for chunk in deps.objects.read(f"videos/{second['id']}")])
    assert stored == WEBM


async def test_what_was_answered_is_what_is_read_later(ana: httpx.AsyncClient) -> None:
    video = await accepted(ana)
    assert (await ana.get(f"/v1/videos/{video['id']}")).json() == video
    assert (await ana.get(f"/v1/extractions/{video['extraction']['id']}")).json() == video["extraction"]
    assert (await ana.get("/v1/videos")).json() == {"items": [video], "next_cursor": None}


async def test_without_a_spec_the_defaults_hold(ana: httpx.AsyncClient) -> None:
    assert (await accepted(ana))["extraction"]["spec"] == {
        "sample": {"mode": "fps", "fps": 1},
        "range": {"start": 0, "end": None},
        "image": {"format": "jpeg", "quality": 90, "max_side": None},
        "snap": "exact",
        "max_frames": None,
    }


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "empty_file"), (b"just some text", "not_a_video"), (b"#EXTM3U\n#EXT-X-VERSION:3\n", "playlist")],
)
async def test_what_can_not_be_a_video_is_refused_and_leaves_nothing(
    ana: httpx.AsyncClient, deps: Deps, content: bytes, code: str
) -> None:
    answer = await send(ana, ("clip.mp4", content))
    assert code_of(answer) == (422, code)
    problem = answer.json()
    assert problem["fault"] == "file"
    assert problem["remedy"]
    assert [error["filename"] for error in problem["errors"]] == ["clip.mp4"]
    assert await left_behind(deps.database, deps.objects) == NOTHING


async def test_one_bad_part_refuses_all_and_every_bad_one_is_named(ana: httpx.AsyncClient, deps: Deps) -> None:
    files = ("a.mp4", MP4), ("b.mp4", b"text"), ("c.mp4", MP4), ("d.mp4", b"")
    answer = await send(ana, *files, spec='{"sample": {"fps": 0}}')
    assert answer.status_code == 422
    found = [(error["part"], error["filename"], error["code"]) for error in answer.json()["errors"]]
    assert found == [
        ("spec", None, "invalid_spec"),
        ("file", "b.mp4", "not_a_video"),
        ("file", "d.mp4", "empty_file"),
    ]
    assert all(error["detail"] and error["remedy"] for error in answer.json()["errors"])
    assert await left_behind(deps.database, deps.objects) == NOTHING


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{", (400, "malformed_request")),
        ('{"sample": {"mode": "sometimes"}}', (422, "invalid_spec")),
        ('{"sample": {"fps": 1e99999999999999999999}}', (400, "malformed_request")),
        ('{"frames": 5}', (422, "invalid_spec")),
        ("[]", (422, "invalid_spec")),
        ('{"\\ud800": 1}', (400, "malformed_request")),
    ],
)
async def test_a_bad_spec_is_refused_and_leaves_nothing(
    ana: httpx.AsyncClient, deps: Deps, spec: str, expected: tuple[int, str]
) -> None:
    assert code_of(await send(ana, ("a.mp4", MP4), spec=spec)) == expected
    assert await left_behind(deps.database, deps.objects) == NOTHING


async def test_what_a_form_must_be_is_said(ana: httpx.AsyncClient, deps: Deps) -> None:
    small = replace(deps, request_max_files=2)
    async with client_of(create_app(small), headers=ana.headers) as client:
        assert code_of(await send(client, *[("a.mp4", MP4)] * 3)) == (413, "too_many_files")
    form: Any = [("file", ("a.mp4", MP4)), ("files", ("b.mp4", MP4))]
    unknown = await ana.post("/v1/videos", files=form)
    assert code_of(unknown) == (422, "invalid_field")
    assert unknown.json()["errors"][0]["part"] == "files"
    twice: Any = [("file", ("a.mp4", MP4)), ("spec", (None, b"{}")), ("spec", (None, b"{}"))]
    assert code_of(await ana.post("/v1/videos", files=twice)) == (422, "invalid_field")
    only_spec: Any = {"spec": (None, b"{}")}
    assert code_of(await ana.post("/v1/videos", files=only_spec)) == (422, "no_file")
    assert code_of(await ana.post("/v1/videos", json={})) == (415, "unsupported_media_type")
    cut = {"Content-Type": "multipart/form-data; boundary=x"}
    half = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + MP4
    assert code_of(await ana.post("/v1/videos", content=half, headers=cut)) == (400, "malformed_request")
    assert await left_behind(deps.database, deps.objects) == NOTHING


async def test_too_much_is_refused_by_its_declared_length_before_a_byte_is_read(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(deps.request_max_bytes * 2)}
    answer = await ana.post("/v1/videos", content=never(), headers=headers)
    assert code_of(answer) == (413, "too_large")
    assert int(answer.headers["retry-after"]) > 0


async def test_too_much_without_a_declared_length_is_refused_while_reading(ana: httpx.AsyncClient, deps: Deps) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + MP4
        while True:
            yield MP4

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}
    small = replace(deps, request_max_bytes=100_000)
    async with client_of(create_app(small), headers=ana.headers) as client:
        answer = await client.post("/v1/videos", content=endless(), headers=headers)
        assert code_of(answer) == (413, "too_large")
        whole = await send(client, ("a.mp4", MP4 + bytes(100_000 - len(MP4))))
        assert whole.status_code == 201
        assert code_of(await send(client, ("a.mp4", MP4 + bytes(100_001 - len(MP4))))) == (413, "too_large")
    assert (await left_behind(deps.database, deps.objects))[:2] == (1, 0)


async def test_a_body_is_never_in_memory(ana: httpx.AsyncClient, deps: Deps) -> None:
    size, piece = 24 << 20, bytes(1 << 16)

    async def body() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + MP4
        for _ in range(size // len(piece)):
            yield piece
        yield b"\r\n--x--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}
    tracemalloc.start()
    try:
        answer = await ana.post("/v1/videos", content=body(), headers=headers)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.json()["items"][0]["size"] == size + len(MP4)
    assert peak_bytes < 8 << 20


async def test_a_length_must_be_known(ana: httpx.AsyncClient) -> None:
    request = ana.build_request("POST", "/v1/videos", headers={"Content-Type": "multipart/form-data; boundary=x"})
    del request.headers["Content-Length"]
    assert code_of(await ana.send(request)) == (411, "length_required")


class TestIdempotencyKey:
    """The same key and the same request answer the same result."""

    async def test_a_repeated_request_gets_the_same_answer_and_nothing_is_done_twice(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        first = await send(ana, ("a.mp4", MP4), spec='{"sample":{"fps":0.5}}', headers=KEYED)
        # Another boundary, the part in another place, another spelling of the same number.
        again = await ana.post(
            "/v1/videos",
            files=[("spec", (None, b'{"sample": {"mode": "fps", "fps": 0.50}}')), ("file", ("a.mp4", MP4))],
            headers=KEYED,
        )
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert (await left_behind(deps.database, deps.objects))[:2] == (1, 0)
        assert len((await left_behind(deps.database, deps.objects))[2]) == 1

    @pytest.mark.parametrize(
        ("file", "spec"),
        [(("b.mp4", MP4), None), (("a.mp4", MP4 + b"x"), None), (("a.mp4", MP4), '{"sample":{"fps":2}}')],
    )
    async def test_another_request_with_the_key_is_refused(
        self, ana: httpx.AsyncClient, deps: Deps, file: tuple[str, bytes], spec: str | None
    ) -> None:
        await send(ana, ("a.mp4", MP4), headers=KEYED)
        assert code_of(await send(ana, file, spec=spec, headers=KEYED)) == (422, "idempotency_key_reused")
        assert len((await left_behind(deps.database, deps.objects))[2]) == 1

    async def test_while_the_first_call_runs_a_second_is_told_so(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        entered, leave = asyncio.Event(), asyncio.Event()

        class Slow(FolderStore):
            async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
                entered.set()
                await leave.wait()
                return await super().put(key, chunks)

        assert isinstance(deps.objects, FolderStore)
        slow = replace(deps, objects=Slow(deps.objects._root))
        async with client_of(create_app(slow), headers=ana.headers) as client:
            first = asyncio.create_task(send(client, ("a.mp4", MP4), headers=KEYED))
            await entered.wait()
            assert code_of(await send(ana, ("a.mp4", MP4), headers=KEYED)) == (409, "idempotency_in_progress")
            leave.set()
            assert (await first).status_code == 201

    async def test_a_refused_request_leaves_its_key_free(self, ana: httpx.AsyncClient) -> None:
        assert (await send(ana, ("a.mp4", b"text"), headers=KEYED)).status_code == 422
        assert (await send(ana, ("a.mp4", MP4), headers=KEYED)).status_code == 201

    async def test_keys_are_each_users_own(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        first = await send(ana, ("a.mp4", MP4), headers=KEYED)
        async with client_of(create_app(deps)) as bob:
            await log_in(bob, "bob@example.org")
            second = await send(bob, ("b.mp4", WEBM), headers=KEYED)
        assert second.status_code == 201
        assert first.json()["items"][0]["id"] != second.json()["items"][0]["id"]

    async def test_a_call_whose_server_died_can_be_repeated(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        await send(ana, ("a.mp4", MP4), headers=KEYED)
        async with deps.database.begin() as connection:
            await connection.execute(
                text(
                    "UPDATE idempotency_keys SET response = NULL, fingerprint = NULL, status = NULL,"
                    " lease_expires_at = clock_timestamp() - interval '1 second'"
                )
            )
        assert (await send(ana, ("a.mp4", MP4), headers=KEYED)).status_code == 201

    @pytest.mark.parametrize("key", ["", "x" * 256, "a b"])
    async def test_a_key_has_visible_characters_only(self, ana: httpx.AsyncClient, key: str) -> None:
        answer = await send(ana, ("a.mp4", MP4), headers={"Idempotency-Key": key})
        assert code_of(answer) == (422, "invalid_field")


class TestTrouble:
    """A part of the service fails while a request is taken in."""

    async def test_a_full_store_is_said_and_leaves_nothing(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        class Full(FolderStore):
            async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
                if await self.keys("videos"):
                    raise CatalogueError("storage_full", retry_after=60)
                return await super().put(key, chunks)

        assert isinstance(deps.objects, FolderStore)
        full = replace(deps, objects=Full(deps.objects._root))
        async with client_of(create_app(full), headers=ana.headers) as client:
            answer = await send(client, ("a.mp4", MP4), ("b.mp4", MP4))
        assert code_of(answer) == (507, "storage_full")
        assert answer.headers["retry-after"] == "60"
        assert await left_behind(deps.database, deps.objects) == NOTHING

    async def test_an_unexpected_error_leaves_nothing_and_tells_nothing(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        class Broken(FolderStore):
            async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
                await super().put(key, chunks)
                raise ZeroDivisionError("a secret of the code")

        assert isinstance(deps.objects, FolderStore)
        broken = replace(deps, objects=Broken(deps.objects._root))
        async with client_of(create_app(broken), headers=ana.headers) as client:
            answer = await send(client, ("a.mp4", MP4))
        assert code_of(answer) == (500, "internal")
        assert "secret" not in answer.text
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert await left_behind(deps.database, deps.objects) == NOTHING

    async def test_a_request_that_is_cancelled_in_the_middle_leaves_no_row_and_a_marked_object_at_max(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        entered = asyncio.Event()

        async def stuck() -> AsyncIterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + MP4
            entered.set()
            await asyncio.Event().wait()

        headers = {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}
        call = asyncio.create_task(ana.post("/v1/videos", content=stuck(), headers=headers))
        await entered.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await deps.objects.keys("videos") == []
        async with deps.database.connect() as connection:
            statement = text("SELECT count(*) FROM reservations WHERE abandoned_at IS NULL")
            assert (await connection.execute(statement)).scalar() == 0


class Engine:
    """A database whose `nth` transaction does something odd after its COMMIT."""

    def __init__(self, real: AsyncEngine, nth: int, odd: Callable[[], Awaitable[None]]) -> None:
        self._real, self._left, self._odd = real, nth, odd

    def connect(self) -> AsyncConnection:
        return self._real.connect()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        async with self._real.begin() as connection:
            yield connection
        self._left -= 1
        if not self._left:
            await self._odd()


class TestCommit:
    """The moment that decides. Transactions of a request: 1 reserves, 2 accepts."""

    async def test_a_commit_whose_answer_was_lost_counts_when_the_rows_are_there(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        async def lose_the_answer() -> None:
            raise OperationalError("COMMIT", {}, ConnectionResetError())

        odd: Any = Engine(deps.database, 2, lose_the_answer)
        async with client_of(create_app(replace(deps, database=odd)), headers=ana.headers) as client:
            answer = await send(client, ("a.mp4", MP4))
        assert answer.status_code == 201
        video = answer.json()["items"][0]
        assert (await ana.get(f"/v1/videos/{video['id']}")).json() == video
        assert await left_behind(deps.database, deps.objects) == (1, 0, [f"videos/{video['id']}"])

    async def test_a_reservation_that_can_not_be_made_leaves_nothing(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        async def fail() -> None:
            raise OperationalError("COMMIT", {}, ConnectionResetError())

        odd: Any = Engine(deps.database, 1, fail)
        async with client_of(create_app(replace(deps, database=odd)), headers=ana.headers) as client:
            assert code_of(await send(client, ("a.mp4", MP4))) == (503, "unavailable")
        assert await left_behind(deps.database, deps.objects) == NOTHING

    @pytest.mark.parametrize("lost", [1, 2], ids=["of the key", "of the reservation"])
    async def test_a_key_is_free_as_soon_as_the_database_is_back(
        self, ana: httpx.AsyncClient, deps: Deps, monkeypatch: pytest.MonkeyPatch, lost: int
    ) -> None:
        drop, tries = idempotency_keys.drop, []

        async def away() -> None:
            raise OperationalError("COMMIT", {}, ConnectionResetError())

        async def drop_when_back(database: AsyncEngine, owned: OwnedKey) -> None:
            tries.append(owned)
            await (away() if len(tries) < 3 else drop(database, owned))

        monkeypatch.setattr("db.acceptance.idempotency_keys.drop", drop_when_back)
        odd: Any = Engine(deps.database, lost, away)
        async with client_of(create_app(replace(deps, database=odd)), headers=ana.headers) as client:
            assert code_of(await send(client, ("a.mp4", MP4), headers=KEYED)) == (503, "unavailable")
        async with asyncio.timeout(10):
            while (answer := await send(ana, ("a.mp4", MP4), headers=KEYED)).status_code == 409:
                await asyncio.sleep(0.05)
        assert answer.status_code == 201

    async def test_what_was_committed_stays_when_its_client_is_gone(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        committed, go_on = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            committed.set()
            await go_on.wait()

        odd: Any = Engine(deps.database, 3, wait)
        async with client_of(create_app(replace(deps, database=odd)), headers=ana.headers) as client:
            call = asyncio.create_task(send(client, ("a.mp4", MP4), headers=KEYED))
            await committed.wait()
            call.cancel()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await call
        videos, reservations, keys = await left_behind(deps.database, deps.objects)
        assert (videos, reservations, len(keys)) == (1, 0, 1)
        again = await send(ana, ("a.mp4", MP4), headers=KEYED)
        assert again.headers["idempotency-replayed"] == "true"
        assert (await left_behind(deps.database, deps.objects))[0] == 1


class TestListing:
    """GET /v1/videos"""

    async def test_pages_are_newest_first_and_whole(self, ana: httpx.AsyncClient) -> None:
        made = [(await accepted(ana, f"clip {n}.mp4"))["id"] for n in range(5)]
        seen, cursor = [], None
        while True:
            query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await ana.get("/v1/videos", params=query)).json()
            seen += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == made[::-1]

    async def test_filters_narrow_it(self, ana: httpx.AsyncClient) -> None:
        beach, city = await accepted(ana, "Beach 100%.mp4"), await accepted(ana, "city.webm", WEBM)
        await ana.post(f"/v1/extractions/{city['extraction']['id']}/cancel")

        async def found(**query: str) -> list[str]:
            items = (await ana.get("/v1/videos", params=query)).json()["items"]
            return [item["filename"] for item in items]

        assert await found(status="queued") == ["Beach 100%.mp4"]
        assert await found(status="cancelled") == ["city.webm"]
        assert await found(q="beach 100%") == ["Beach 100%.mp4"]
        assert await found(q="100_") == []
        assert await found(q="\0") == []
        assert await found(sha256=beach["sha256"].upper()) == ["Beach 100%.mp4"]
        assert await found(sha256="0" * 64) == []

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=201", "limit=x", "cursor=x", "status=gone", "sha256=x", "colour=red", "q=a&q=b"]
    )
    async def test_a_query_that_means_nothing_is_refused(self, ana: httpx.AsyncClient, query: str) -> None:
        assert code_of(await ana.get(f"/v1/videos?{query}")) == (422, "invalid_field")


async def test_somebody_elses_video_is_not_there(ana: httpx.AsyncClient, deps: Deps) -> None:
    video = await accepted(ana)
    extraction = video["extraction"]["id"]
    calls = [
        ("GET", f"/v1/videos/{video['id']}"),
        ("DELETE", f"/v1/videos/{video['id']}"),
        ("GET", f"/v1/extractions/{extraction}"),
        ("POST", f"/v1/extractions/{extraction}/cancel"),
        ("POST", f"/v1/extractions/{extraction}/retry"),
        ("GET", f"/v1/extractions/{extraction}/frames.zip"),
        ("GET", f"/v1/extractions/{extraction}/frames/1"),
    ]
    async with client_of(create_app(deps)) as bob:
        await log_in(bob, "bob@example.org")
        for method, path in calls:
            theirs = await bob.request(method, path)
            unknown = await bob.request(
                method, path.replace(path.split("/")[3], "00000000-0000-7000-8000-000000000000")
            )
            assert code_of(theirs) == code_of(unknown) == (404, "not_found")
            assert theirs.json()["detail"] == unknown.json()["detail"]
        again = await bob.post(f"/v1/videos/{video['id']}/extractions", json={})
        assert code_of(again) == (404, "not_found")
        assert (await bob.get("/v1/videos")).json()["items"] == []
        assert (await bob.get("/v1/videos", params={"sha256": video["sha256"]})).json()["items"] == []
    assert (await ana.get(f"/v1/videos/{video['id']}")).status_code == 200


async def test_a_path_that_is_no_id_names_nothing(ana: httpx.AsyncClient) -> None:
    for path in ("/v1/videos/1", "/v1/videos/%00", "/v1/extractions/abc", "/v1/nothing"):
        assert code_of(await ana.get(path)) == (404, "not_found")


async def test_a_deleted_video_is_gone_with_all_that_came_of_it(ana: httpx.AsyncClient) -> None:
    video = await accepted(ana)
    assert (await ana.delete(f"/v1/videos/{video['id']}")).status_code == 204
    assert code_of(await ana.get(f"/v1/videos/{video['id']}")) == (404, "not_found")
    assert code_of(await ana.get(f"/v1/extractions/{video['extraction']['id']}")) == (404, "not_found")
    assert code_of(await ana.delete(f"/v1/videos/{video['id']}")) == (404, "not_found")

"""A body that arrives too slowly is answered with 408. An upload keeps what has arrived, unless there is a checksum."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from db.acceptance import resumable_uploads
from serve_app.deps import Deps
from serve_app.http.server import slow_clients
from serve_app.submission import receive_chunks
from tests.support.clients import tus_client
from tests.support.clients.api_client import MP4, NOTHING_STORED, status_and_code, stored_state


@pytest.fixture(autouse=True)
def short_silence_limit(ana: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Holds from Ana's log-in on: half a second is long for the machine, too."""
    monkeypatch.setattr(slow_clients, "SILENT_SECONDS", 0.2)


async def silent_after(content: bytes) -> AsyncIterator[bytes]:
    yield content
    await asyncio.Event().wait()


async def trickling(content: bytes) -> AsyncIterator[bytes]:
    yield content
    while True:
        await asyncio.sleep(0.05)
        yield b"x"


@pytest.mark.parametrize("body", [silent_after, trickling])
async def test_upload_keeps_what_a_slow_client_has_sent(ana: httpx.AsyncClient, deps: Deps, body: object) -> None:
    path = await tus_client.open_upload(ana, len(MP4) + 1000)
    assert callable(body)
    refused = await tus_client.patch(ana, path, 0, body(MP4))
    assert status_and_code(refused) == (408, "request_timeout")
    assert (refused.json()["fault"], refused.headers["connection"]) == ("request", "close")
    offset = await tus_client.committed_offset(ana, path)
    assert len(MP4) <= offset < len(MP4) + 1000
    whole = MP4 + b"x" * 1000
    assert (await tus_client.patch(ana, path, offset, whole[offset:])).status_code == 204
    assert await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(path)) == whole


async def test_offset_moves_during_a_long_request(ana: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "SILENT_SECONDS", 60.0)
    monkeypatch.setattr(receive_chunks, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(resumable_uploads, "SMALL_CHUNK_BYTES", len(MP4))
    path = await tus_client.open_upload(ana, len(MP4) + 3)

    async def rest_after_the_commit() -> AsyncIterator[bytes]:
        yield MP4
        async with asyncio.timeout(20):
            while await tus_client.committed_offset(ana, path) < len(MP4):
                pass
        yield b"end"

    answer = await tus_client.patch(ana, path, 0, rest_after_the_commit())
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(len(MP4) + 3))


async def test_request_with_a_checksum_keeps_nothing_of_a_slow_client(ana: httpx.AsyncClient, deps: Deps) -> None:
    path = await tus_client.open_upload(ana, len(MP4) + 1000)
    refused = await tus_client.patch(ana, path, 0, silent_after(MP4), tus_client.checksum(MP4))
    assert status_and_code(refused) == (408, "request_timeout")
    assert await tus_client.committed_offset(ana, path) == 0
    assert await tus_client.chunk_keys(deps.objects, path) == []


async def test_upload_with_all_its_bytes_is_accepted_although_its_request_does_not_end(
    ana: httpx.AsyncClient,
) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    answer = await tus_client.patch(ana, path, 0, silent_after(MP4))
    assert (answer.status_code, answer.headers["video-location"]) == (204, f"/v1/videos/{tus_client.id_of(path)}")


@pytest.mark.parametrize("headers", [{}, tus_client.checksum(MP4)])
async def test_chunk_that_is_older_than_maintenance_allows_gets_no_row(
    ana: httpx.AsyncClient, deps: Deps, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    monkeypatch.setattr(receive_chunks, "MAX_UNCOMMITTED_SECONDS", -1.0 if not headers else 0.0)
    path = await tus_client.open_upload(ana, len(MP4))
    assert status_and_code(await tus_client.patch(ana, path, 0, MP4, headers)) == (408, "request_timeout")
    assert await tus_client.committed_offset(ana, path) == 0
    assert await tus_client.chunk_keys(deps.objects, path) == []


async def test_slow_multipart_request_gives_its_place_back_and_leaves_nothing(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    refused = await ana.post("/v1/videos", content=silent_after(head + MP4), headers=headers)
    assert status_and_code(refused) == (408, "request_timeout")
    assert await stored_state(deps.database, deps.objects) == NOTHING_STORED
    assert deps.admission._uploads.total() == 0


async def test_slow_json_body_is_refused(visitor: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    refused = await visitor.post("/v1/tokens", content=silent_after(b'{"email":'), headers=headers)
    assert status_and_code(refused) == (408, "request_timeout")

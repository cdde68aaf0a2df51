"""Uploads by tus 1.0.0: creation, chunks, checksums, deferred length, termination, expiry."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from db.acceptance import resumable_uploads
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.submission import receive_chunks
from tests.support.clients import api_client, tus_client
from tests.support.clients.api_client import MP4, status_and_code
from tests.support.clients.tus_client import TUS
from tests.support.state import database_rows


async def test_options_tells_the_version_the_extensions_and_the_largest_size(visitor: httpx.AsyncClient) -> None:
    answer = await visitor.options("/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
    assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256"
    assert set(answer.headers["tus-extension"].split(",")) == {
        "creation", "creation-defer-length", "creation-with-upload", "checksum", "expiration", "termination",
    }  # fmt: skip


async def test_an_upload_in_pieces_becomes_a_queued_video_of_the_same_bytes(ana: httpx.AsyncClient, deps: Deps) -> None:
    spec = json.dumps({"sample": {"mode": "every_nth", "n": 5}})
    path = await tus_client.open_upload(ana, len(MP4), spec=spec)
    assert await tus_client.committed_offset(ana, path) == 0
    first = await tus_client.patch(ana, path, 0, MP4[:4000])
    assert (first.status_code, first.headers["upload-offset"]) == (204, "4000")
    assert first.headers["tus-resumable"] == "1.0.0"
    assert "upload-expires" in first.headers
    assert "video-location" not in first.headers
    last = await tus_client.patch(ana, path, 4000, MP4[4000:])
    assert (last.status_code, last.headers["upload-offset"]) == (204, str(len(MP4)))
    video = (await ana.get(last.headers["video-location"])).json()
    assert (video["filename"], video["size"], video["status"]) == ("clip.mp4", len(MP4), "queued")
    assert video["extraction"]["spec"]["sample"] == {"mode": "every_nth", "n": 5}
    assert await tus_client.stored_bytes(deps.database, deps.objects, video["id"]) == MP4


async def test_long_specification_comes_as_the_body_of_the_creation(ana: httpx.AsyncClient) -> None:
    spec = {"sample": {"mode": "timestamps", "at": list(range(100_000))}}
    headers = TUS | {"Upload-Length": str(len(MP4)), "Idempotency-Key": "long"}
    paths = {(await ana.post("/v1/uploads", json={"spec": spec}, headers=headers)).headers["location"] for _ in "12"}
    (path,) = paths
    other = await ana.post("/v1/uploads", json={"spec": {}}, headers=headers)
    assert status_and_code(other) == (422, "idempotency_key_reused")
    last = await tus_client.patch(ana, path, 0, MP4)
    assert (await ana.get(last.headers["video-location"])).json()["extraction"]["spec"]["sample"] == spec["sample"]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"{", (400, "malformed_request")),
        (b"[]", (422, "invalid_field")),
        (b'{"spec": {}, "filename": "a.mp4"}', (422, "invalid_field")),
        (b'{"spec": {"x": 1}}', (422, "invalid_spec")),
        (b'{"spec": "' + b" " * (1 << 22) + b'"}', (413, "too_large")),
    ],
)
async def test_body_of_a_creation_that_is_no_specification_is_refused(
    ana: httpx.AsyncClient, deps: Deps, body: bytes, answer: tuple[int, str]
) -> None:
    headers = TUS | {"Upload-Length": "100", "Content-Type": "application/json"}
    assert status_and_code(await ana.post("/v1/uploads", content=body, headers=headers)) == answer
    assert (await database_rows.fetch_one(deps.database, "SELECT count(*) AS n FROM uploads")).n == 0


async def test_head_after_completion_names_the_video(ana: httpx.AsyncClient) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    await tus_client.patch(ana, path, 0, MP4)
    answer = await ana.head(path, headers=TUS)
    assert answer.headers["upload-offset"] == answer.headers["upload-length"] == str(len(MP4))
    assert answer.headers["video-location"] == f"/v1/videos/{tus_client.id_of(path)}"
    assert answer.headers["cache-control"] == "no-store"
    assert "upload-expires" not in answer.headers


async def test_the_request_that_completed_the_upload_can_be_repeated_and_makes_nothing_twice(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    await tus_client.patch(ana, path, 0, MP4)
    again = await tus_client.patch(ana, path, len(MP4), b"")
    assert (again.status_code, again.headers["video-location"]) == (204, f"/v1/videos/{tus_client.id_of(path)}")
    assert status_and_code(await tus_client.patch(ana, path, 0, MP4)) == (409, "upload_conflict")
    assert (await database_rows.fetch_one(deps.database, "SELECT count(*) AS n FROM extractions")).n == 1


async def test_creation_with_upload_takes_the_whole_file_in_one_request(ana: httpx.AsyncClient, deps: Deps) -> None:
    answer = await tus_client.create(ana, len(MP4), MP4)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(len(MP4)))
    assert answer.headers["video-location"] == f"/v1/videos/{tus_client.id_of(answer.headers['location'])}"
    assert (
        await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(answer.headers["location"])) == MP4
    )


async def test_a_deferred_length_is_fixed_by_a_later_request(ana: httpx.AsyncClient, deps: Deps) -> None:
    path = await tus_client.open_upload(ana, None)
    answer = await ana.head(path, headers=TUS)
    assert answer.headers["upload-defer-length"] == "1"
    assert "upload-length" not in answer.headers
    await tus_client.patch(ana, path, 0, MP4[:3000])
    last = await tus_client.patch(ana, path, 3000, MP4[3000:], {"Upload-Length": str(len(MP4))})
    assert last.headers["video-location"] == f"/v1/videos/{tus_client.id_of(path)}"
    assert await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(path)) == MP4


async def test_a_length_that_is_told_after_the_last_byte_completes_the_upload(ana: httpx.AsyncClient) -> None:
    path = await tus_client.open_upload(ana, None)
    await tus_client.patch(ana, path, 0, MP4)
    last = await tus_client.patch(ana, path, len(MP4), b"", {"Upload-Length": str(len(MP4))})
    assert (last.status_code, last.headers["video-location"]) == (204, f"/v1/videos/{tus_client.id_of(path)}")


async def test_a_length_below_what_has_arrived_or_another_length_is_refused(ana: httpx.AsyncClient) -> None:
    path = await tus_client.open_upload(ana, None)
    await tus_client.patch(ana, path, 0, MP4[:3000])
    for length in (10, 2999):
        refused = await tus_client.patch(ana, path, 3000, b"", {"Upload-Length": str(length)})
        assert status_and_code(refused) == (409, "upload_conflict")
    fixed = await tus_client.open_upload(ana, 5000)
    assert status_and_code(await tus_client.patch(ana, fixed, 0, MP4[:9], {"Upload-Length": "6000"})) == (
        409,
        "upload_conflict",
    )


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_a_right_checksum_is_taken(ana: httpx.AsyncClient, algorithm: str) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    answer = await tus_client.patch(ana, path, 0, MP4, tus_client.checksum(MP4, algorithm))
    assert answer.status_code == 204
    assert "video-location" in answer.headers


async def test_a_wrong_checksum_answers_460_and_leaves_nothing_of_the_request(
    ana: httpx.AsyncClient, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive_chunks, "CHUNK_BYTES", 1000)
    path = await tus_client.open_upload(ana, len(MP4))
    await tus_client.patch(ana, path, 0, MP4[:2000])
    refused = await tus_client.patch(ana, path, 2000, MP4[2000:], tus_client.checksum(b"other bytes"))
    assert status_and_code(refused) == (460, "chunk_checksum_mismatch")
    assert refused.headers["tus-resumable"] == "1.0.0"
    assert await tus_client.committed_offset(ana, path) == 2000
    assert len(await tus_client.chunk_keys(deps.objects)) == 2
    assert (await tus_client.patch(ana, path, 2000, MP4[2000:])).status_code == 204


@pytest.mark.parametrize(
    "header",
    ["md5 AAAA", "sha256", "sha256 AAAA", "sha256 !!!!", " ", "SHA256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],
)
async def test_a_checksum_that_can_not_be_read_is_refused(ana: httpx.AsyncClient, header: str) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    refused = await tus_client.patch(ana, path, 0, MP4, {"Upload-Checksum": header})
    assert status_and_code(refused) == (400, "malformed_request")
    assert await tus_client.committed_offset(ana, path) == 0


async def test_a_large_request_is_cut_into_chunk_objects(
    ana: httpx.AsyncClient, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive_chunks, "CHUNK_BYTES", 4096)
    path = await tus_client.open_upload(ana, len(MP4))
    await tus_client.patch(ana, path, 0, MP4)
    chunks = await resumable_uploads.chunks_of(deps.database, UUID(tus_client.id_of(path)))
    assert [(chunk.start, chunk.size) for chunk in chunks] == [(0, 4096), (4096, 4096), (8192, len(MP4) - 8192)]
    assert chunks[0].sha256 == hashlib.sha256(MP4[:4096]).hexdigest()
    assert await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(path)) == MP4


async def test_a_request_that_breaks_off_keeps_what_has_arrived(
    ana: httpx.AsyncClient, deps: Deps, tmp_path: Path
) -> None:
    content = MP4 + bytes(3 << 20)
    path = await tus_client.open_upload(ana, len(content))
    async with api_client.listen(create_app(deps)) as port, broken_patch(port, ana, path, content):
        async with asyncio.timeout(20):
            while not any(file.stat().st_size for file in (tmp_path / "objects" / ".staging").glob("*")):
                await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        while not (arrived := await tus_client.committed_offset(ana, path)):
            await asyncio.sleep(0.01)
    assert 1 << 20 <= arrived < len(content)
    assert (await tus_client.patch(ana, path, arrived, content[arrived:])).status_code == 204
    assert await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(path)) == content


async def test_a_request_with_a_checksum_that_breaks_off_keeps_nothing(
    ana: httpx.AsyncClient, deps: Deps, tmp_path: Path
) -> None:
    content = MP4 + bytes(3 << 20)
    path = await tus_client.open_upload(ana, len(content))
    staging = tmp_path / "objects" / ".staging"
    async with api_client.listen(create_app(deps)) as port:
        async with broken_patch(port, ana, path, content, tus_client.checksum(content)), asyncio.timeout(20):
            while not any(file.stat().st_size for file in staging.glob("*")):
                await asyncio.sleep(0.01)
        async with asyncio.timeout(20):
            while list(staging.glob("*")):
                await asyncio.sleep(0.01)
    assert await tus_client.committed_offset(ana, path) == 0
    assert await tus_client.chunk_keys(deps.objects) == []


@asynccontextmanager
async def broken_patch(
    port: int, client: httpx.AsyncClient, path: str, content: bytes, headers: dict[str, str] | None = None
) -> AsyncIterator[None]:
    """A PATCH that promises all of `content` and sends all but the last MiB. The block ends with the connection."""
    fixed = {
        "Host": "fotograma.test",
        "Authorization": client.headers["Authorization"],
        "Tus-Resumable": "1.0.0",
        "Content-Type": tus_client.CHUNK,
        "Upload-Offset": "0",
        "Content-Length": str(len(content)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in (fixed | (headers or {})).items())
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"PATCH {path} HTTP/1.1\r\n{head}\r\n".encode() + content[: -1 << 20])
    await writer.drain()
    yield
    writer.close()
    await writer.wait_closed()


async def test_of_two_clients_that_send_the_same_bytes_one_gets_them_in(ana: httpx.AsyncClient, deps: Deps) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    answers = await asyncio.gather(*(tus_client.patch(ana, path, 0, MP4) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [204] + [409] * 7
    assert await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(path)) == MP4
    assert len(await tus_client.chunk_keys(deps.objects)) == 1


async def test_termination_ends_the_upload_and_gives_its_objects_to_maintenance(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    await tus_client.patch(ana, path, 0, MP4[:3000])
    assert (await ana.delete(path, headers=TUS)).status_code == 204
    for answer in (await ana.delete(path, headers=TUS), await tus_client.patch(ana, path, 3000, MP4[3000:])):
        assert status_and_code(answer) == (410, "upload_gone")
    assert (await ana.head(path, headers=TUS)).status_code == 410
    garbage = await database_rows.fetch_one(deps.database, "SELECT object_key FROM garbage")
    assert garbage.object_key == f"videos/{tus_client.id_of(path)}/"


async def test_a_complete_upload_can_not_be_terminated(ana: httpx.AsyncClient) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    await tus_client.patch(ana, path, 0, MP4)
    assert status_and_code(await ana.delete(path, headers=TUS)) == (409, "upload_conflict")


async def test_an_expired_upload_is_gone(ana: httpx.AsyncClient, deps: Deps) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    async with deps.database.begin() as connection:
        await connection.execute(text("UPDATE uploads SET expires_at = now() - interval '1 s'"))
    assert status_and_code(await tus_client.patch(ana, path, 0, MP4)) == (410, "upload_gone")
    assert await resumable_uploads.discard_expired(deps.database) == 1
    assert await resumable_uploads.discard_expired(deps.database) == 0
    assert status_and_code(await tus_client.patch(ana, path, 0, MP4)) == (410, "upload_gone")


async def test_deleting_the_video_takes_the_upload_and_its_chunks_along(ana: httpx.AsyncClient, deps: Deps) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    await tus_client.patch(ana, path, 0, MP4)
    assert (await ana.delete(f"/v1/videos/{tus_client.id_of(path)}")).status_code == 204
    assert (await ana.head(path, headers=TUS)).status_code == 404
    counts = "SELECT (SELECT count(*) FROM uploads) u, (SELECT count(*) FROM upload_chunks) c"
    assert tuple(await database_rows.fetch_one(deps.database, counts)) == (0, 0)
    garbage = await database_rows.fetch_one(
        deps.database, "SELECT count(*) AS n FROM garbage WHERE object_key LIKE 'videos/%/'"
    )
    assert garbage.n == 1


async def test_the_same_creation_with_the_same_key_is_one_upload(ana: httpx.AsyncClient, deps: Deps) -> None:
    key = {"Idempotency-Key": "one"}
    first, again = [await tus_client.create(ana, len(MP4), MP4[:2000], headers=key) for _ in range(2)]
    assert first.headers["location"] == again.headers["location"]
    assert again.headers["upload-offset"] == "2000"
    assert [answer.headers.get("idempotency-replayed") for answer in (first, again)] == [None, "true"]
    assert status_and_code(await tus_client.create(ana, 77, headers=key)) == (422, "idempotency_key_reused")
    assert (await database_rows.fetch_one(deps.database, "SELECT count(*) AS n FROM uploads")).n == 1


async def test_a_client_that_may_only_post_names_the_method_in_a_header(ana: httpx.AsyncClient) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    patch = TUS | {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", "Content-Type": tus_client.CHUNK}
    assert (await ana.post(path, content=MP4[:2000], headers=patch)).headers["upload-offset"] == "2000"
    assert (await ana.post(path, headers=TUS | {"X-HTTP-Method-Override": "HEAD"})).headers["upload-offset"] == "2000"
    assert (await ana.post(path, headers=TUS | {"X-HTTP-Method-Override": "DELETE"})).status_code == 204
    assert status_and_code(await ana.post(path, headers=TUS)) == (405, "method_not_allowed")

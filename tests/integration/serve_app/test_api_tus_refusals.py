"""What is refused of uploads by tus 1.0.0, and that nothing of it is left."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db.acceptance.quotas import Quotas
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.submission.receive_chunks import UploadPolicy
from tests.support.clients import api_client, tus_client
from tests.support.clients.api_client import MP4, status_and_code
from tests.support.clients.tus_client import TUS
from tests.support.state import database_rows


async def test_somebody_elses_upload_is_unknown(ana: httpx.AsyncClient, deps: Deps) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    async with api_client.open_client(create_app(deps)) as bob:
        await api_client.log_in(bob, "bob@example.org")
        assert (await bob.head(path, headers=TUS)).status_code == 404
        assert status_and_code(await tus_client.patch(bob, path, 0, MP4)) == (404, "not_found")
        assert status_and_code(await bob.delete(path, headers=TUS)) == (404, "not_found")


@pytest.mark.parametrize("version", [None, "0.2.2", "1.0.1"])
async def test_another_version_of_tus_is_refused(ana: httpx.AsyncClient, version: str | None) -> None:
    headers = {} if version is None else {"Tus-Resumable": version}
    refused = await ana.post("/v1/uploads", headers=headers | {"Upload-Length": "100"})
    assert status_and_code(refused) == (412, "tus_unsupported")
    assert refused.headers["tus-version"] == "1.0.0"


async def test_an_unknown_extension_is_refused(ana: httpx.AsyncClient) -> None:
    refused = await ana.post("/v1/uploads", headers=TUS | {"Upload-Concat": "partial", "Upload-Length": "100"})
    assert status_and_code(refused) == (412, "tus_unsupported")


async def test_an_upload_needs_an_account(visitor: httpx.AsyncClient) -> None:
    refused = await tus_client.create(visitor, 100)
    assert status_and_code(refused) == (401, "unauthenticated")
    assert refused.headers["tus-resumable"] == "1.0.0"


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({}, (400, "malformed_request")),
        ({"Upload-Length": "-1"}, (400, "malformed_request")),
        ({"Upload-Length": "1e3"}, (400, "malformed_request")),
        ({"Upload-Length": "9" * 30}, (400, "malformed_request")),
        ({"Upload-Length": "0"}, (422, "empty_file")),
        ({"Upload-Length": str((1 << 40) + 1)}, (413, "too_large")),
        ({"Upload-Defer-Length": "2"}, (400, "malformed_request")),
        ({"Upload-Defer-Length": "1", "Upload-Length": "5"}, (400, "malformed_request")),
        ({"Upload-Length": "9", "Upload-Metadata": "filename !"}, (400, "malformed_request")),
        ({"Upload-Length": "9", "Upload-Metadata": "filename YQ==,filename YQ=="}, (400, "malformed_request")),
        ({"Upload-Length": "9", "Upload-Metadata": "spec e30"}, (400, "malformed_request")),
        (
            {"Upload-Length": "9", "Upload-Metadata": "spec " + base64.b64encode(b'{"x":1}').decode()},
            (422, "invalid_spec"),
        ),
        (
            {"Upload-Length": "9", "Upload-Metadata": "spec " + base64.b64encode(b"{").decode()},
            (400, "malformed_request"),
        ),
        (
            {"Upload-Length": "9", "Upload-Metadata": "sha256 " + base64.b64encode(b"00").decode()},
            (422, "invalid_field"),
        ),
    ],
)
async def test_a_creation_that_can_not_be_taken_is_refused_and_leaves_nothing(
    ana: httpx.AsyncClient, deps: Deps, headers: dict[str, str], answer: tuple[int, str]
) -> None:
    assert status_and_code(await ana.post("/v1/uploads", headers=TUS | headers)) == answer
    assert (await database_rows.fetch_one(deps.database, "SELECT count(*) AS n FROM uploads")).n == 0


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({"Upload-Offset": ""}, (400, "malformed_request")),
        ({"Upload-Offset": "-1"}, (400, "malformed_request")),
        ({"Upload-Offset": "1" * 39}, (400, "malformed_request")),
        ({"Upload-Offset": "1"}, (409, "upload_conflict")),
        ({"Upload-Offset": "999999999"}, (409, "upload_conflict")),
        ({"Content-Type": "application/octet-stream"}, (415, "unsupported_media_type")),
    ],
)
async def test_a_patch_that_can_not_be_taken_is_refused_and_the_offset_stays(
    ana: httpx.AsyncClient, deps: Deps, headers: dict[str, str], answer: tuple[int, str]
) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    assert status_and_code(await tus_client.patch(ana, path, 0, MP4, headers)) == answer
    assert await tus_client.committed_offset(ana, path) == 0
    assert await tus_client.chunk_keys(deps.objects) == []


async def test_more_bytes_than_the_length_are_refused_whether_declared_or_not(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    path = await tus_client.open_upload(ana, 5000)
    assert status_and_code(await tus_client.patch(ana, path, 0, MP4)) == (413, "too_large")
    assert status_and_code(await tus_client.patch(ana, path, 0, api_client.one_chunk(MP4))) == (413, "too_large")
    assert await tus_client.committed_offset(ana, path) == 0
    assert await tus_client.chunk_keys(deps.objects) == []
    assert (await tus_client.patch(ana, path, 0, MP4[:5000])).status_code == 204


async def test_a_request_above_the_limit_of_one_request_is_refused(ana: httpx.AsyncClient, deps: Deps) -> None:
    object.__setattr__(deps, "uploads", UploadPolicy(max_bytes=1 << 30, max_request_bytes=4000, expiry_seconds=60))
    path = await tus_client.open_upload(ana, len(MP4))
    assert status_and_code(await tus_client.patch(ana, path, 0, MP4)) == (413, "too_large")
    assert status_and_code(await tus_client.patch(ana, path, 0, api_client.one_chunk(MP4))) == (411, "length_required")
    assert (await tus_client.patch(ana, path, 0, MP4[:4000])).status_code == 204


@pytest.mark.parametrize("pieces", [[2000], [700, 700, 600], [1, 1999], [1500, 500]])
async def test_what_is_no_video_is_refused_by_its_first_bytes_and_leaves_nothing(
    ana: httpx.AsyncClient, deps: Deps, pieces: list[int]
) -> None:
    content = b"#EXTM3U\n" + b"x" * 1992
    path, position, answer = await tus_client.open_upload(ana, 2000), 0, None
    for size in pieces:
        answer = await tus_client.patch(ana, path, position, content[position : position + size])
        position += size
        if answer.status_code != 204:
            break
    assert answer is not None
    assert status_and_code(answer) == (422, "playlist")
    assert (await ana.head(path, headers=TUS)).status_code == 410
    assert (await database_rows.fetch_one(deps.database, "SELECT count(*) AS n FROM videos")).n == 0
    assert (await database_rows.fetch_one(deps.database, "SELECT count(*) AS n FROM upload_chunks")).n == 0


async def test_a_quota_is_taken_at_the_creation_and_the_last_byte_meets_none(
    database: AsyncEngine, tmp_path: Path, deps: Deps
) -> None:
    small = api_client.make_limits(quotas=Quotas(waiting=2, stored_bytes=3 * len(MP4)))
    limited = api_client.make_deps(database, tmp_path / "objects", deps.cache, limits=small)
    async with api_client.open_client(create_app(limited)) as client:
        await api_client.log_in(client)
        paths = [await tus_client.open_upload(client, len(MP4)) for _ in range(2)]
        assert status_and_code(await tus_client.create(client, len(MP4))) == (429, "too_many_waiting")
        assert status_and_code(await api_client.upload_videos(client, ("clip.mp4", MP4))) == (429, "too_many_waiting")
        for path in paths:
            assert (await tus_client.patch(client, path, 0, MP4)).status_code == 204
        assert status_and_code(await tus_client.create(client, 2 * len(MP4))) == (429, "too_many_waiting")
    limited.password_hasher.close()


async def test_bytes_that_are_announced_count_as_used(database: AsyncEngine, tmp_path: Path, deps: Deps) -> None:
    small = api_client.make_limits(quotas=Quotas(stored_bytes=3 * len(MP4)))
    limited = api_client.make_deps(database, tmp_path / "objects", deps.cache, limits=small)
    async with api_client.open_client(create_app(limited)) as client:
        await api_client.log_in(client)
        path = await tus_client.open_upload(client, 2 * len(MP4))
        assert status_and_code(await tus_client.create(client, 2 * len(MP4))) == (429, "quota_exceeded")
        await client.delete(path, headers=TUS)
        deferred = await tus_client.open_upload(client, None)
        await tus_client.patch(client, deferred, 0, MP4)
        refused = await tus_client.patch(client, deferred, len(MP4), b"", {"Upload-Length": str(4 * len(MP4))})
        assert status_and_code(refused) == (429, "quota_exceeded")
        assert status_and_code(await tus_client.patch(client, deferred, len(MP4), MP4 * 3)) == (429, "quota_exceeded")
        assert await tus_client.committed_offset(client, deferred) == len(MP4)
    limited.password_hasher.close()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("a\x00b\u202e.mp4", "ab.mp4"),
        ("x" * 5000 + ".mp4", "x" * 251 + ".mp4"),
        ("", "video"),
    ],
)
async def test_a_file_name_is_cleaned_and_never_names_an_object(
    ana: httpx.AsyncClient, deps: Deps, sent: str, shown: str
) -> None:
    answer = await tus_client.create(ana, len(MP4), MP4, filename=sent)
    video = (await ana.get(answer.headers["video-location"])).json()
    assert video["filename"] == shown
    (key,) = await tus_client.chunk_keys(deps.objects)
    assert key.startswith(f"videos/{video['id']}/000000000000000-")

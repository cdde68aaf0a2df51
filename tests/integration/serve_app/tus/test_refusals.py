"""Invalid uploads by tus 1.0.0 are refused, and nothing of them is stored.

The acceptance tests run the same cases against the running service.
"""

from __future__ import annotations

import base64
from uuid import UUID

import httpx
import pytest

from tests.support.clients import api_client, tus_client
from tests.support.clients.api_client import MP4, status_and_code
from tests.support.clients.tus_client import TUS
from tests.support.state import database_rows
from tests.support.state.stores import Stores


class TestTusRefusals:
    """Requests that are refused."""

    async def test_upload_of_another_user_is_not_found(self, ana: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        assert (await bob.head(path, headers=TUS)).status_code == 404
        assert status_and_code(await tus_client.patch(bob, path, 0, MP4)) == (404, "not_found")
        assert status_and_code(await bob.delete(path, headers=TUS)) == (404, "not_found")
        assert await tus_client.committed_offset(ana, path) == 0

    @pytest.mark.parametrize("version", [None, "0.2.2", "1.0.1"])
    async def test_another_version_of_tus_is_refused(self, ana: httpx.AsyncClient, version: str | None) -> None:
        headers = {} if version is None else {"Tus-Resumable": version}
        refused = await ana.post("/v1/uploads", headers=headers | {"Upload-Length": "100"})
        assert status_and_code(refused) == (412, "tus_unsupported")
        assert refused.headers["tus-version"] == "1.0.0"

    async def test_unknown_extension_is_refused(self, ana: httpx.AsyncClient) -> None:
        refused = await ana.post("/v1/uploads", headers=TUS | {"Upload-Concat": "partial", "Upload-Length": "100"})
        assert status_and_code(refused) == (412, "tus_unsupported")

    async def test_upload_needs_an_account(self, visitor: httpx.AsyncClient) -> None:
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
            ({"Upload-Length": "9", "Upload-Metadata": "own " + "A" * (60 << 10)}, (413, "too_large")),
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
    async def test_invalid_creation_is_refused_and_stores_nothing(
        self, ana: httpx.AsyncClient, stores: Stores, headers: dict[str, str], answer: tuple[int, str]
    ) -> None:
        before = await tus_client.upload_ids(stores.database, ana)
        assert status_and_code(await ana.post("/v1/uploads", headers=TUS | headers)) == answer
        assert await tus_client.upload_ids(stores.database, ana) == before

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
    async def test_invalid_patch_is_refused_and_the_offset_stays(
        self, ana: httpx.AsyncClient, stores: Stores, headers: dict[str, str], answer: tuple[int, str]
    ) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        assert status_and_code(await tus_client.patch(ana, path, 0, MP4, headers)) == answer
        assert await tus_client.committed_offset(ana, path) == 0
        assert await tus_client.chunk_keys(stores.objects, path) == []

    @pytest.mark.parametrize("header", ["Upload-Offset", "Upload-Length", "Upload-Checksum"])
    async def test_header_that_comes_twice_with_different_values_is_refused_and_the_offset_stays(
        self, ana: httpx.AsyncClient, header: str
    ) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        good = {"Upload-Offset": "0", "Upload-Length": str(len(MP4)), **tus_client.checksum(MP4)}
        other = {"Upload-Offset": "5", "Upload-Length": "9", **tus_client.checksum(b"other")}
        headers = [*TUS.items(), ("Content-Type", tus_client.CHUNK), *good.items(), (header, other[header])]
        assert status_and_code(await ana.patch(path, content=MP4, headers=headers)) == (400, "malformed_request")
        assert await tus_client.committed_offset(ana, path) == 0

    async def test_more_bytes_than_the_length_are_refused_whether_declared_or_not(
        self, ana: httpx.AsyncClient, stores: Stores
    ) -> None:
        path = await tus_client.open_upload(ana, 5000)
        assert status_and_code(await tus_client.patch(ana, path, 0, MP4)) == (413, "too_large")
        assert status_and_code(await tus_client.patch(ana, path, 0, api_client.one_chunk(MP4))) == (413, "too_large")
        assert await tus_client.committed_offset(ana, path) == 0
        assert await tus_client.chunk_keys(stores.objects, path) == []
        assert (await tus_client.patch(ana, path, 0, MP4[:5000])).status_code == 204

    @pytest.mark.parametrize("pieces", [[2000], [700, 700, 600], [1, 1999], [1500, 500]])
    async def test_non_video_is_refused_by_its_first_bytes_and_stores_nothing(
        self, ana: httpx.AsyncClient, stores: Stores, pieces: list[int]
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
        counts = (
            "SELECT (SELECT count(*) FROM videos WHERE id = :id) v,"
            " (SELECT count(*) FROM upload_chunks WHERE upload_id = :id) c"
        )
        assert tuple(await database_rows.fetch_one(stores.database, counts, id=UUID(tus_client.id_of(path)))) == (0, 0)

    @pytest.mark.parametrize(
        ("sent", "shown"),
        [
            ("../../etc/passwd", "passwd"),
            ("a\x00b\u202e.mp4", "ab.mp4"),
            ("x" * 5000 + ".mp4", "x" * 251 + ".mp4"),
            ("", "video"),
        ],
    )
    async def test_file_name_is_cleaned_and_never_part_of_an_object_key(
        self, ana: httpx.AsyncClient, stores: Stores, sent: str, shown: str
    ) -> None:
        answer = await tus_client.create(ana, len(MP4), MP4, filename=sent)
        video = (await ana.get(answer.headers["video-location"])).json()
        assert video["filename"] == shown
        (key,) = await tus_client.chunk_keys(stores.objects, answer.headers["location"])
        assert key.startswith(f"videos/{video['id']}/000000000000000-")

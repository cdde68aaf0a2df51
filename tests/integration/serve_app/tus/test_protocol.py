"""Uploads by tus 1.0.0: creation, chunks, checksums, deferred length, termination, expiry.

The acceptance tests run the same cases against the running service.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from uuid import UUID

import httpx
import pytest

from db.acceptance import resumable_uploads
from serve_app.submission.receive_chunks import CHUNK_BYTES
from tests.support.clients import tus_client
from tests.support.clients.api_client import MP4, status_and_code
from tests.support.clients.tus_client import TUS
from tests.support.state import database_rows
from tests.support.state.stores import Stores

LARGE = MP4 + bytes(2 * CHUNK_BYTES)
"""A video that is stored in three chunks."""


async def garbage_of(stores: Stores, path: str) -> int:
    """Counts the garbage rows of an upload's chunks."""
    statement = "SELECT count(*) AS n FROM garbage WHERE object_key = :key"
    row = await database_rows.fetch_one(stores.database, statement, key=f"videos/{tus_client.id_of(path)}/")
    return int(row.n)


class TestTusUploads:
    """Uploads that follow the protocol."""

    async def test_options_shows_the_version_the_extensions_and_the_maximum_size(
        self, visitor: httpx.AsyncClient
    ) -> None:
        answer = await visitor.options("/v1/uploads")
        assert answer.status_code == 204
        assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
        assert int(answer.headers["tus-max-size"]) > len(LARGE)
        assert int(answer.headers["upload-limit"].removeprefix("max-append-size=")) > len(LARGE)
        assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256"
        assert set(answer.headers["tus-extension"].split(",")) == {
            "creation", "creation-defer-length", "creation-with-upload", "checksum", "expiration", "termination",
        }  # fmt: skip

    async def test_upload_in_several_requests_becomes_an_accepted_video_of_the_same_bytes(
        self, ana: httpx.AsyncClient, stores: Stores
    ) -> None:
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
        assert (video["filename"], video["size"]) == ("clip.mp4", len(MP4))
        timeline = (await ana.get(f"/v1/extractions/{video['extraction']['id']}/timeline")).json()
        assert timeline["items"][0]["kind"] == "accepted"
        assert video["extraction"]["spec"]["sample"] == {"mode": "every_nth", "n": 5}
        assert await tus_client.stored_bytes(stores.database, stores.objects, video["id"]) == MP4

    async def test_long_specification_is_sent_as_the_body_of_the_creation(self, ana: httpx.AsyncClient) -> None:
        spec = {"sample": {"mode": "timestamps", "at": list(range(100_000))}}
        headers = TUS | {"Upload-Length": str(len(MP4)), "Idempotency-Key": "long-specification"}
        paths = {
            (await ana.post("/v1/uploads", json={"spec": spec}, headers=headers)).headers["location"] for _ in "12"
        }
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
    async def test_creation_with_an_invalid_specification_as_its_body_is_refused(
        self, ana: httpx.AsyncClient, stores: Stores, body: bytes, answer: tuple[int, str]
    ) -> None:
        headers = TUS | {"Upload-Length": "100", "Content-Type": "application/json"}
        before = await tus_client.upload_ids(stores.database, ana)
        assert status_and_code(await ana.post("/v1/uploads", content=body, headers=headers)) == answer
        assert await tus_client.upload_ids(stores.database, ana) == before

    async def test_metadata_in_two_lines_is_one_list(self, ana: httpx.AsyncClient) -> None:
        lines = [tus_client.metadata(filename="holiday.mp4"), f"is_confidential,{tus_client.metadata(own='1')}"]
        headers = [*TUS.items(), ("Upload-Length", str(len(MP4))), *(("Upload-Metadata", line) for line in lines)]
        path = (await ana.post("/v1/uploads", headers=headers)).headers["location"]
        assert (await ana.head(path, headers=TUS)).headers["upload-metadata"] == ",".join(lines)
        last = await tus_client.patch(ana, path, 0, MP4)
        assert (await ana.get(last.headers["video-location"])).json()["filename"] == "holiday.mp4"

    async def test_head_after_completion_names_the_video(self, ana: httpx.AsyncClient) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        await tus_client.patch(ana, path, 0, MP4)
        answer = await ana.head(path, headers=TUS)
        assert answer.headers["upload-offset"] == answer.headers["upload-length"] == str(len(MP4))
        assert answer.headers["video-location"] == f"/v1/videos/{tus_client.id_of(path)}"
        assert answer.headers["cache-control"] == "no-store"
        assert "upload-expires" not in answer.headers

    async def test_repeated_last_request_of_an_upload_creates_nothing(
        self, ana: httpx.AsyncClient, stores: Stores
    ) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        await tus_client.patch(ana, path, 0, MP4)
        again = await tus_client.patch(ana, path, len(MP4), b"")
        assert (again.status_code, again.headers["video-location"]) == (204, f"/v1/videos/{tus_client.id_of(path)}")
        assert status_and_code(await tus_client.patch(ana, path, 0, MP4)) == (409, "upload_conflict")
        extractions = "SELECT count(*) AS n FROM extractions WHERE video_id = :id"
        assert (await database_rows.fetch_one(stores.database, extractions, id=UUID(tus_client.id_of(path)))).n == 1

    async def test_creation_with_upload_takes_the_whole_file_in_one_request(
        self, ana: httpx.AsyncClient, stores: Stores
    ) -> None:
        answer = await tus_client.create(ana, len(MP4), MP4)
        assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(len(MP4)))
        assert answer.headers["video-location"] == f"/v1/videos/{tus_client.id_of(answer.headers['location'])}"
        assert (
            await tus_client.stored_bytes(stores.database, stores.objects, tus_client.id_of(answer.headers["location"]))
            == MP4
        )

    async def test_deferred_length_is_set_by_a_later_request(self, ana: httpx.AsyncClient, stores: Stores) -> None:
        path = await tus_client.open_upload(ana, None)
        answer = await ana.head(path, headers=TUS)
        assert answer.headers["upload-defer-length"] == "1"
        assert "upload-length" not in answer.headers
        await tus_client.patch(ana, path, 0, MP4[:3000])
        last = await tus_client.patch(ana, path, 3000, MP4[3000:], {"Upload-Length": str(len(MP4))})
        assert last.headers["video-location"] == f"/v1/videos/{tus_client.id_of(path)}"
        assert await tus_client.stored_bytes(stores.database, stores.objects, tus_client.id_of(path)) == MP4

    async def test_deferred_length_that_is_set_after_the_last_byte_completes_the_upload(
        self, ana: httpx.AsyncClient
    ) -> None:
        path = await tus_client.open_upload(ana, None)
        await tus_client.patch(ana, path, 0, MP4)
        last = await tus_client.patch(ana, path, len(MP4), b"", {"Upload-Length": str(len(MP4))})
        assert (last.status_code, last.headers["video-location"]) == (204, f"/v1/videos/{tus_client.id_of(path)}")

    async def test_length_below_the_offset_or_unlike_the_first_length_is_refused(self, ana: httpx.AsyncClient) -> None:
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
    async def test_matching_checksum_is_accepted(self, ana: httpx.AsyncClient, algorithm: str) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        answer = await tus_client.patch(ana, path, 0, MP4, tus_client.checksum(MP4, algorithm))
        assert answer.status_code == 204
        assert "video-location" in answer.headers

    async def test_wrong_checksum_is_answered_with_460_and_nothing_of_the_request_is_kept(
        self, ana: httpx.AsyncClient, stores: Stores
    ) -> None:
        path = await tus_client.open_upload(ana, len(LARGE))
        await tus_client.patch(ana, path, 0, LARGE[:2000])
        refused = await tus_client.patch(ana, path, 2000, LARGE[2000:], tus_client.checksum(b"other bytes"))
        assert status_and_code(refused) == (460, "chunk_checksum_mismatch")
        assert refused.headers["tus-resumable"] == "1.0.0"
        assert await tus_client.committed_offset(ana, path) == 2000
        assert len(await tus_client.chunk_keys(stores.objects, path)) == 1
        assert (await tus_client.patch(ana, path, 2000, LARGE[2000:])).status_code == 204

    @pytest.mark.parametrize(
        "header",
        ["md5 AAAA", "sha256", "sha256 AAAA", "sha256 !!!!", "", "SHA256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],
    )
    async def test_malformed_checksum_is_refused(self, ana: httpx.AsyncClient, header: str) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        refused = await tus_client.patch(ana, path, 0, MP4, {"Upload-Checksum": header})
        assert status_and_code(refused) == (400, "malformed_request")
        assert await tus_client.committed_offset(ana, path) == 0

    async def test_large_request_is_stored_in_several_chunks(self, ana: httpx.AsyncClient, stores: Stores) -> None:
        path = await tus_client.open_upload(ana, len(LARGE))
        await tus_client.patch(ana, path, 0, LARGE)
        chunks = await resumable_uploads.chunks_of(stores.database, UUID(tus_client.id_of(path)))
        assert [(chunk.start, chunk.size) for chunk in chunks] == [
            (0, CHUNK_BYTES), (CHUNK_BYTES, CHUNK_BYTES), (2 * CHUNK_BYTES, len(MP4))
        ]  # fmt: skip
        assert chunks[0].sha256 == hashlib.sha256(LARGE[:CHUNK_BYTES]).hexdigest()
        assert await tus_client.stored_bytes(stores.database, stores.objects, tus_client.id_of(path)) == LARGE

    async def test_only_one_of_concurrent_clients_with_the_same_bytes_succeeds(
        self, ana: httpx.AsyncClient, stores: Stores
    ) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        answers = await asyncio.gather(*(tus_client.patch(ana, path, 0, MP4) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [204] + [409] * 7
        assert await tus_client.stored_bytes(stores.database, stores.objects, tus_client.id_of(path)) == MP4
        assert len(await tus_client.chunk_keys(stores.objects, path)) == 1

    async def test_termination_ends_the_upload_and_makes_its_objects_garbage(
        self, ana: httpx.AsyncClient, stores: Stores
    ) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        await tus_client.patch(ana, path, 0, MP4[:3000])
        assert (await ana.delete(path, headers=TUS)).status_code == 204
        for answer in (await ana.delete(path, headers=TUS), await tus_client.patch(ana, path, 3000, MP4[3000:])):
            assert status_and_code(answer) == (410, "upload_gone")
        assert (await ana.head(path, headers=TUS)).status_code == 410
        assert await garbage_of(stores, path) == 1

    async def test_complete_upload_cannot_be_terminated(self, ana: httpx.AsyncClient) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        await tus_client.patch(ana, path, 0, MP4)
        assert status_and_code(await ana.delete(path, headers=TUS)) == (409, "upload_conflict")

    async def test_expired_upload_is_gone(self, ana: httpx.AsyncClient, stores: Stores) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        await tus_client.patch(ana, path, 0, MP4[:3000])
        await tus_client.expire(stores.database, path)
        for answer in (await tus_client.patch(ana, path, 3000, MP4[3000:]), await ana.delete(path, headers=TUS)):
            assert status_and_code(answer) == (410, "upload_gone")
        assert (await ana.head(path, headers=TUS)).status_code == 410

    async def test_deleting_the_video_deletes_the_upload_and_its_chunks(
        self, ana: httpx.AsyncClient, stores: Stores
    ) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        await tus_client.patch(ana, path, 0, MP4)
        assert (await ana.delete(f"/v1/videos/{tus_client.id_of(path)}")).status_code == 204
        assert (await ana.head(path, headers=TUS)).status_code == 404
        counts = (
            "SELECT (SELECT count(*) FROM uploads WHERE id = :id) u,"
            " (SELECT count(*) FROM upload_chunks WHERE upload_id = :id) c"
        )
        assert tuple(await database_rows.fetch_one(stores.database, counts, id=UUID(tus_client.id_of(path)))) == (0, 0)
        assert await garbage_of(stores, path) == 1

    async def test_repeated_creation_with_the_same_key_creates_one_upload(
        self, ana: httpx.AsyncClient, stores: Stores
    ) -> None:
        key, before = {"Idempotency-Key": "one"}, len(await tus_client.upload_ids(stores.database, ana))
        first, again = [await tus_client.create(ana, len(MP4), MP4[:2000], headers=key) for _ in range(2)]
        assert first.headers["location"] == again.headers["location"]
        assert again.headers["upload-offset"] == "2000"
        assert [answer.headers.get("idempotency-replayed") for answer in (first, again)] == [None, "true"]
        assert status_and_code(await tus_client.create(ana, 77, headers=key)) == (422, "idempotency_key_reused")
        assert len(await tus_client.upload_ids(stores.database, ana)) == before + 1

    async def test_client_that_can_only_post_names_the_method_in_a_header(self, ana: httpx.AsyncClient) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        patch = TUS | {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", "Content-Type": tus_client.CHUNK}
        assert (await ana.post(path, content=MP4[:2000], headers=patch)).headers["upload-offset"] == "2000"
        assert (await ana.post(path, headers=TUS | {"X-HTTP-Method-Override": "HEAD"})).headers[
            "upload-offset"
        ] == "2000"
        assert (await ana.post(path, headers=TUS | {"X-HTTP-Method-Override": "DELETE"})).status_code == 204
        assert status_and_code(await ana.post(path, headers=TUS)) == (405, "method_not_allowed")

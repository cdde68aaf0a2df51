"""Uploads by tus 1.0.0 with small limits: bytes of a request, quotas, expiry."""

from __future__ import annotations

from pathlib import Path

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from db.acceptance import resumable_uploads
from db.acceptance.quotas import Quotas
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.submission.receive_chunks import UploadPolicy
from tests.support.clients import api_client, tus_client
from tests.support.clients.api_client import MP4, status_and_code
from tests.support.clients.tus_client import TUS


async def test_maintenance_discards_an_expired_upload_once(ana: httpx.AsyncClient, deps: Deps) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    await tus_client.expire(deps.database, path)
    assert await resumable_uploads.discard_expired(deps.database) == 1
    assert await resumable_uploads.discard_expired(deps.database) == 0
    assert status_and_code(await tus_client.patch(ana, path, 0, MP4)) == (410, "upload_gone")


async def test_request_above_the_maximum_request_size_is_refused(ana: httpx.AsyncClient, deps: Deps) -> None:
    object.__setattr__(deps, "uploads", UploadPolicy(max_bytes=1 << 30, max_request_bytes=4000, expiry_seconds=60))
    path = await tus_client.open_upload(ana, len(MP4))
    answers = await ana.options("/v1/uploads"), await ana.head(path, headers=TUS)
    assert [answer.headers["upload-limit"] for answer in answers] == ["max-append-size=4000"] * 2
    assert status_and_code(await tus_client.patch(ana, path, 0, MP4)) == (413, "too_large")
    assert status_and_code(await tus_client.patch(ana, path, 0, api_client.one_chunk(MP4))) == (411, "length_required")
    assert (await tus_client.patch(ana, path, 0, MP4[:4000])).status_code == 204


async def test_quota_is_checked_at_the_creation_and_not_at_the_last_byte(
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


async def test_declared_bytes_count_as_used(database: AsyncEngine, tmp_path: Path, deps: Deps) -> None:
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

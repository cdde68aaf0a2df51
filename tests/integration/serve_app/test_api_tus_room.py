"""Uploads by tus on a disk that is nearly full: what is announced has room, and the reserve stays free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from db.object_store.folder_store import FolderStore
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.submission import admission_control, receive_chunks
from serve_app.submission.receive_chunks import UploadPolicy
from tests.support.clients import api_client, tus_client
from tests.support.clients.api_client import MP4, status_and_code
from tests.support.clients.limited_api import assert_refused
from tests.support.clients.tus_client import TUS
from tests.support.state import database_rows

RESERVE, LIMIT, EXPIRY_SECONDS = 1000, 1_000_000, 7 * 24 * 3600.0


class SmallDisk(FolderStore):
    """A folder store on a disk of which a test says how much is free."""

    free = 0

    async def free_bytes(self) -> int | None:
        return self.free


@dataclass
class Site:
    """Two replicas on one disk, and a client of each, of the same account."""

    disk: SmallDisk
    clients: tuple[httpx.AsyncClient, httpx.AsyncClient]
    deps: Deps

    @property
    def client(self) -> httpx.AsyncClient:
        return self.clients[0]


@pytest.fixture
async def site(deps: Deps, tmp_path: Path) -> AsyncIterator[Site]:
    disk = SmallDisk(tmp_path / "objects")
    policy = UploadPolicy(max_bytes=LIMIT, max_request_bytes=None, expiry_seconds=EXPIRY_SECONDS)
    limits = api_client.make_limits(min_free_bytes=RESERVE)
    one, two = (
        api_client.make_deps(deps.database, tmp_path, deps.cache, objects=disk, uploads=policy, limits=limits)
        for _ in range(2)
    )
    async with api_client.open_client(create_app(one)) as first, api_client.open_client(create_app(two)) as second:
        await api_client.log_in(first)
        second.headers["Authorization"] = first.headers["Authorization"]
        yield Site(disk, (first, second), one)
    for made in (one, two):
        made.password_hasher.close()


async def idle(site: Site, path: str) -> None:
    """Makes an upload one that has got nothing for a day."""
    values = {"id": tus_client.id_of(path)}
    await database_rows.execute(
        site.deps.database, "UPDATE uploads SET expires_at = expires_at - interval '1 day' WHERE id = :id", **values
    )


@pytest.mark.parametrize(("free", "told"), [(10 * LIMIT, LIMIT), (51_000, 50_000), (RESERVE, 0), (0, 0)])
async def test_largest_video_is_the_limit_or_what_the_disk_holds(site: Site, free: int, told: int) -> None:
    site.disk.free = free
    assert (await site.client.options("/v1/uploads")).headers["tus-max-size"] == str(told)


async def test_video_above_the_limit_and_one_without_room_are_refused_before_their_first_byte(site: Site) -> None:
    site.disk.free = 10 * LIMIT
    assert_refused(await tus_client.create(site.client, LIMIT + 1), 413, "too_large", "request")
    site.disk.free = RESERVE + 5000
    refused = await tus_client.create(site.client, 5001)
    assert_refused(refused, 507, "storage_full", "service")
    assert "5,000" in refused.json()["detail"]
    assert (await tus_client.create(site.client, 5000)).status_code == 201


async def test_uploads_that_are_created_together_in_two_replicas_never_announce_more_than_fits(site: Site) -> None:
    site.disk.free = RESERVE + 25_000
    answers = await asyncio.gather(*(tus_client.create(site.clients[n % 2], 10_000) for n in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [507] * 6


async def test_room_that_was_announced_is_kept_from_requests_of_every_kind(site: Site) -> None:
    big = MP4 + bytes(4 << 20)
    site.disk.free = RESERVE + len(MP4) + 20_000 + len(big)
    path = await tus_client.open_upload(site.client, len(MP4))
    assert (await api_client.upload_videos(site.client, ("a.mp4", big))).status_code == 201
    site.disk.free = RESERVE + len(MP4) + 20_000
    deferred = await tus_client.open_upload(site.client, None)
    assert status_and_code(await api_client.upload_videos(site.client, ("a.mp4", big))) == (507, "storage_full")
    late = await tus_client.patch(site.client, deferred, 0, b"", {"Upload-Length": str(20_001)})
    assert status_and_code(late) == (507, "storage_full")
    assert (await tus_client.patch(site.client, path, 0, MP4)).status_code == 204


async def test_another_extraction_of_a_stored_video_is_not_refused_for_room_that_uploads_have_announced(
    site: Site,
) -> None:
    site.disk.free = RESERVE + 100_000
    video = await api_client.upload_video(site.client)
    await tus_client.open_upload(site.client, 100_000)
    site.disk.free = RESERVE + 1
    assert (await site.client.post(f"/v1/videos/{video['id']}/extractions", json={})).status_code == 201
    site.disk.free = RESERVE - 1
    refused = await site.client.post(f"/v1/videos/{video['id']}/extractions", json={})
    assert_refused(refused, 507, "storage_full", "service")


async def test_chunk_that_would_use_the_reserve_is_refused_and_what_had_arrived_stays(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive_chunks, "CHUNK_BYTES", 4000)
    site.disk.free = RESERVE + len(MP4)
    path = await tus_client.open_upload(site.client, len(MP4))

    async def others_fill_the_disk() -> AsyncIterator[bytes]:
        yield MP4[:4000]
        async with asyncio.timeout(20):
            while not await tus_client.committed_offset(site.client, path):
                await asyncio.sleep(0.01)
        site.disk.free = RESERVE + 3999
        yield MP4[4000:]

    refused = await tus_client.patch(site.client, path, 0, others_fill_the_disk())
    assert_refused(refused, 507, "storage_full", "service")
    assert await tus_client.committed_offset(site.client, path) == 4000
    site.disk.free = RESERVE + len(MP4)
    assert (await tus_client.patch(site.client, path, 4000, MP4[4000:])).status_code == 204


async def test_idle_upload_keeps_no_room_from_others_and_goes_on_when_there_is_some(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_control, "ANNOUNCED_CACHE_SECONDS", 0.0)
    site.disk.free = RESERVE + 15_000
    path = await tus_client.open_upload(site.client, len(MP4))
    await tus_client.patch(site.client, path, 0, MP4[:2000])
    assert status_and_code(await tus_client.create(site.client, 10_000)) == (507, "storage_full")
    await idle(site, path)
    other = (await tus_client.create(site.client, 10_000)).headers["location"]
    refused = await tus_client.patch(site.clients[1], path, 2000, MP4[2000:])
    assert_refused(refused, 507, "storage_full", "service")
    assert (await site.client.delete(other, headers=TUS)).status_code == 204
    assert (await tus_client.patch(site.client, path, 2000, MP4[2000:])).status_code == 204


async def test_request_that_is_being_received_is_not_counted_twice(site: Site) -> None:
    site.disk.free = RESERVE + 2 * len(MP4)
    path = await tus_client.open_upload(site.client, len(MP4))
    other: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        yield MP4[:4000]
        other.append((await tus_client.create(site.client, len(MP4) - 1)).status_code)
        yield MP4[4000:]

    assert (await tus_client.patch(site.client, path, 0, body())).status_code == 204
    assert other == [201]

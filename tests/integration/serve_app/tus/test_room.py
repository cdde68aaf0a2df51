"""Uploads by tus on a nearly full disk: declared bytes have room, and the disk reserve stays free."""

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
    """A folder store whose free bytes are set by the test."""

    free = 0

    async def free_bytes(self) -> int | None:
        return self.free


@dataclass
class TwoReplicas:
    """Two replicas that share a disk, and a client for each of them, both of the same account."""

    disk: SmallDisk
    clients: tuple[httpx.AsyncClient, httpx.AsyncClient]
    deps: Deps

    @property
    def client(self) -> httpx.AsyncClient:
        return self.clients[0]


@pytest.fixture
async def replicas(deps: Deps, tmp_path: Path) -> AsyncIterator[TwoReplicas]:
    disk = SmallDisk(tmp_path / "objects")
    policy = UploadPolicy(max_bytes=LIMIT, max_request_bytes=None, expiry_seconds=EXPIRY_SECONDS)
    limits = api_client.make_limits(min_free_bytes=RESERVE)
    first_deps, second_deps = (
        api_client.make_deps(deps.database, tmp_path, deps.cache, objects=disk, uploads=policy, limits=limits)
        for _ in range(2)
    )
    async with (
        api_client.open_client(create_app(first_deps)) as first,
        api_client.open_client(create_app(second_deps)) as second,
    ):
        await api_client.log_in(first)
        second.headers["Authorization"] = first.headers["Authorization"]
        yield TwoReplicas(disk, (first, second), first_deps)
    for app_deps in (first_deps, second_deps):
        app_deps.password_hasher.close()


async def make_idle(replicas: TwoReplicas, path: str) -> None:
    """Changes an upload's row as if it had received no byte for a day."""
    values = {"id": tus_client.id_of(path)}
    await database_rows.execute(
        replicas.deps.database, "UPDATE uploads SET expires_at = expires_at - interval '1 day' WHERE id = :id", **values
    )


@pytest.mark.parametrize(("free", "max_size"), [(10 * LIMIT, LIMIT), (51_000, 50_000), (RESERVE, 0), (0, 0)])
async def test_maximum_size_is_the_limit_or_what_fits_on_the_disk(
    replicas: TwoReplicas, free: int, max_size: int
) -> None:
    replicas.disk.free = free
    assert (await replicas.client.options("/v1/uploads")).headers["tus-max-size"] == str(max_size)


async def test_video_above_the_limit_or_without_room_is_refused_before_its_first_byte(replicas: TwoReplicas) -> None:
    replicas.disk.free = 10 * LIMIT
    assert_refused(await tus_client.create(replicas.client, LIMIT + 1), 413, "too_large", "request")
    replicas.disk.free = RESERVE + 5000
    refused = await tus_client.create(replicas.client, 5001)
    assert_refused(refused, 507, "storage_full", "service")
    assert "5,000" in refused.json()["detail"]
    assert (await tus_client.create(replicas.client, 5000)).status_code == 201


async def test_concurrent_creations_in_two_replicas_never_declare_more_than_fits(replicas: TwoReplicas) -> None:
    replicas.disk.free = RESERVE + 25_000
    answers = await asyncio.gather(*(tus_client.create(replicas.clients[n % 2], 10_000) for n in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [507] * 6


async def test_room_of_declared_bytes_is_kept_from_requests_of_every_kind(replicas: TwoReplicas) -> None:
    big = MP4 + bytes(4 << 20)
    replicas.disk.free = RESERVE + len(MP4) + 20_000 + len(big)
    path = await tus_client.open_upload(replicas.client, len(MP4))
    assert (await api_client.upload_videos(replicas.client, ("a.mp4", big))).status_code == 201
    replicas.disk.free = RESERVE + len(MP4) + 20_000
    deferred = await tus_client.open_upload(replicas.client, None)
    assert status_and_code(await api_client.upload_videos(replicas.client, ("a.mp4", big))) == (507, "storage_full")
    refused = await tus_client.patch(replicas.client, deferred, 0, b"", {"Upload-Length": str(20_001)})
    assert status_and_code(refused) == (507, "storage_full")
    assert (await tus_client.patch(replicas.client, path, 0, MP4)).status_code == 204


async def test_extraction_of_a_stored_video_is_accepted_although_uploads_have_declared_the_free_bytes(
    replicas: TwoReplicas,
) -> None:
    replicas.disk.free = RESERVE + 100_000
    video = await api_client.upload_video(replicas.client)
    await tus_client.open_upload(replicas.client, 100_000)
    replicas.disk.free = RESERVE + 1
    assert (await replicas.client.post(f"/v1/videos/{video['id']}/extractions", json={})).status_code == 201
    replicas.disk.free = RESERVE - 1
    refused = await replicas.client.post(f"/v1/videos/{video['id']}/extractions", json={})
    assert_refused(refused, 507, "storage_full", "service")


async def test_chunk_that_would_use_the_reserve_is_refused_and_earlier_chunks_stay(
    replicas: TwoReplicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive_chunks, "CHUNK_BYTES", 4000)
    replicas.disk.free = RESERVE + len(MP4)
    path = await tus_client.open_upload(replicas.client, len(MP4))

    async def body_on_a_filling_disk() -> AsyncIterator[bytes]:
        yield MP4[:4000]
        async with asyncio.timeout(20):
            while not await tus_client.committed_offset(replicas.client, path):
                await asyncio.sleep(0.01)
        replicas.disk.free = RESERVE + 3999
        yield MP4[4000:]

    refused = await tus_client.patch(replicas.client, path, 0, body_on_a_filling_disk())
    assert_refused(refused, 507, "storage_full", "service")
    assert await tus_client.committed_offset(replicas.client, path) == 4000
    replicas.disk.free = RESERVE + len(MP4)
    assert (await tus_client.patch(replicas.client, path, 4000, MP4[4000:])).status_code == 204


async def test_idle_upload_keeps_no_room_and_continues_when_there_is_room(
    replicas: TwoReplicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_control, "ANNOUNCED_CACHE_SECONDS", 0.0)
    replicas.disk.free = RESERVE + 15_000
    path = await tus_client.open_upload(replicas.client, len(MP4))
    await tus_client.patch(replicas.client, path, 0, MP4[:2000])
    assert status_and_code(await tus_client.create(replicas.client, 10_000)) == (507, "storage_full")
    await make_idle(replicas, path)
    other = (await tus_client.create(replicas.client, 10_000)).headers["location"]
    refused = await tus_client.patch(replicas.clients[1], path, 2000, MP4[2000:])
    assert_refused(refused, 507, "storage_full", "service")
    assert (await replicas.client.delete(other, headers=TUS)).status_code == 204
    assert (await tus_client.patch(replicas.client, path, 2000, MP4[2000:])).status_code == 204


async def test_request_that_is_being_received_is_not_counted_twice(replicas: TwoReplicas) -> None:
    replicas.disk.free = RESERVE + 2 * len(MP4)
    path = await tus_client.open_upload(replicas.client, len(MP4))
    statuses: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        yield MP4[:4000]
        statuses.append((await tus_client.create(replicas.client, len(MP4) - 1)).status_code)
        yield MP4[4000:]

    assert (await tus_client.patch(replicas.client, path, 0, body())).status_code == 204
    assert statuses == [201]

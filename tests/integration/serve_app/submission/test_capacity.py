"""Uploads without capacity are refused before their body is read: queue depth, disk space, concurrent uploads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.object_store.folder_store import FolderStore
from db.queue import queue_status
from db.values.error_catalogue import CatalogueError
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.submission.admission_control import AdmissionControl
from tests.support.clients import api_client, tus_client
from tests.support.clients.api_client import MP4, upload_videos
from tests.support.clients.limited_api import assert_refused, open_limited_api, send_unread


async def test_full_queue_refuses_uploads(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, max_queued_tasks=2) as (limited_deps, client):
        await upload_videos(client, ("a.mp4", MP4), ("b.mp4", MP4))
        limited_deps.admission._depth_expires_at = 0
        assert_refused(await send_unread(client), 503, "queue_full", "service")


async def test_queue_depth_is_counted_at_most_once_per_second(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, now = 0, 100.0
    queue_depth = queue_status.queue_depth

    async def count_queue_depth(database: AsyncEngine, max_count: int) -> int:
        nonlocal queries
        queries += 1
        return await queue_depth(database, max_count)

    monkeypatch.setattr(queue_status, "queue_depth", count_queue_depth)
    admission = AdmissionControl(
        deps.database, deps.cache, deps.objects, api_client.make_limits(), 3600.0, clock=lambda: now
    )
    await asyncio.gather(*(admission.check_capacity(uuid4()) for _ in range(20)))
    assert queries == 1
    now += 1.0
    await admission.check_capacity(uuid4())
    assert queries == 2


async def test_upload_below_the_disk_reserve_is_refused(deps: Deps, tmp_path: Path) -> None:
    free = await deps.objects.free_bytes()
    assert free is not None
    async with open_limited_api(deps, tmp_path, min_free_bytes=free * 2) as (_, client):
        assert_refused(await send_unread(client), 507, "storage_full", "service")


class SteadyDisk(FolderStore):
    """A store whose free space does not depend on what others do on the disk."""

    free = 100 << 30

    async def free_bytes(self) -> int | None:
        return self.free


@pytest.mark.parametrize("has_key", [False, True])
async def test_concurrent_uploads_never_use_the_disk_reserve(deps: Deps, tmp_path: Path, has_key: bool) -> None:
    size, tries = 1 << 30, 6
    bodies_read, end, admitted_or_refused = 0, asyncio.Event(), asyncio.Semaphore(0)

    async def body() -> AsyncIterator[bytes]:
        nonlocal bodies_read
        bodies_read += 1
        admitted_or_refused.release()
        await end.wait()
        yield b"no multipart"

    async def send(n: int) -> int:
        headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(size)}
        headers |= {"Idempotency-Key": f"{n}"} if has_key else {}
        answer = await client.post("/v1/videos", content=body(), headers=headers)
        admitted_or_refused.release()
        return answer.status_code

    limited_deps = api_client.make_deps(
        deps.database,
        tmp_path / "objects",
        deps.cache,
        objects=SteadyDisk(tmp_path / "objects"),
        limits=api_client.make_limits(min_free_bytes=SteadyDisk.free - int(2.5 * size)),
        request_max_bytes=size,
    )
    async with api_client.open_client(create_app(limited_deps)) as client, asyncio.timeout(60):
        await api_client.log_in(client)
        for _ in range(2):  # refused and ended uploads free their part of the disk again
            bodies_read = 0
            end.clear()
            calls = [asyncio.create_task(send(n)) for n in range(tries)]
            for _ in calls:
                await admitted_or_refused.acquire()
            assert bodies_read == 2
            end.set()
            statuses = sorted(await asyncio.gather(*calls))
            assert statuses == [400, 400, 507, 507, 507, 507]
            for _ in range(2):
                await admitted_or_refused.acquire()
    limited_deps.password_hasher.close()


class PausedMeasurement(SteadyDisk):
    """Measures the free space, and returns it only when it may: by then the figure is old."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.measured, self.may_return = asyncio.Event(), asyncio.Event()

    async def free_bytes(self) -> int | None:
        free = await super().free_bytes()
        self.measured.set()
        await self.may_return.wait()
        return free


async def test_upload_that_ends_during_the_measurement_still_counts(deps: Deps, tmp_path: Path) -> None:
    size = 1 << 30
    store = PausedMeasurement(tmp_path / "objects")
    admission = AdmissionControl(
        deps.database, deps.cache, store, api_client.make_limits(min_free_bytes=store.free - int(1.5 * size)), 3600.0
    )
    store.may_return.set()
    async with admission.admit_upload(uuid4(), size):
        store.measured.clear()
        store.may_return.clear()
        second = asyncio.create_task(admission.admit_upload(uuid4(), size).__aenter__())
        await store.measured.wait()
    store.may_return.set()
    with pytest.raises(CatalogueError, match="storage_full"):
        await second
    async with admission.admit_upload(uuid4(), size):
        pass


async def test_concurrent_uploads_of_a_replica_are_bounded(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, max_concurrent_uploads=0) as (_, client):
        assert_refused(await send_unread(client), 503, "busy", "service")


async def test_one_account_leaves_places_for_other_accounts(deps: Deps, tmp_path: Path) -> None:
    may_end, started = asyncio.Event(), asyncio.Semaphore(0)

    async def body() -> AsyncIterator[bytes]:
        started.release()
        await may_end.wait()
        yield MP4

    async with (
        open_limited_api(deps, tmp_path, max_concurrent_uploads=8) as (limited_deps, ana),
        api_client.open_client(create_app(limited_deps)) as bob,
        asyncio.timeout(60),
    ):
        await api_client.log_in(bob, "bob@example.org")
        paths = [await tus_client.open_upload(ana, len(MP4)) for _ in range(8)]
        patches = [asyncio.create_task(tus_client.patch(ana, path, 0, body())) for path in paths[:7]]
        for _ in patches:
            await started.acquire()
        for refused in (await send_unread(ana), await tus_client.patch(ana, paths[7], 0, MP4)):
            assert_refused(refused, 429, "too_many_requests", "request")
        patches.append(
            asyncio.create_task(tus_client.patch(bob, await tus_client.open_upload(bob, len(MP4)), 0, body()))
        )
        await started.acquire()
        for client in (ana, bob):
            assert_refused(await send_unread(client), 503, "busy", "service")
        may_end.set()
        assert {answer.status_code for answer in await asyncio.gather(*patches)} == {204}
        assert (await tus_client.patch(ana, paths[7], 0, MP4)).status_code == 204


async def test_queue_depth_is_read_from_an_index(database: AsyncEngine) -> None:
    async with database.begin() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        lines = (
            await connection.execute(text(f"EXPLAIN {queue_status.QUEUE_DEPTH.text}"), {"max_count": 1000})
        ).scalars()
        plan = "\n".join(lines)
    assert "Seq Scan" not in plan, plan

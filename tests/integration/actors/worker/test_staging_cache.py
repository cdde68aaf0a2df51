"""The workers of a machine fetch a video once. A crash, a full disk or a damaged copy only causes another fetch."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.worker.stage_video import stage_video
from actors.worker.staging_cache import StagingCache
from actors.worker.worker_deps import WorkerDeps
from db.object_store.folder_store import FolderStore
from db.queue import task_queue
from db.queue.task_queue import Claim
from tests.support.state.worker_setup import submit_in_chunks
from tests.support.videos.clips import ClipByName


class CountingStore(FolderStore):
    """Counts the objects that are read."""

    reads = 0

    async def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        self.reads += 1
        async for block in super().read(key, start, length):
            yield block


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path / "objects")


@pytest.fixture
async def claim(database: AsyncEngine, store: CountingStore, clips: ClipByName) -> Claim:
    """The claim of a video in chunks that no worker has read."""
    await submit_in_chunks(database, store, clips("h264")[0])
    (claim,) = await task_queue.claim(database, worker="w1")
    return claim


async def stage(claim: Claim, deps: WorkerDeps, into: Path) -> bytes:
    return (await stage_video(claim, deps, into)).path.read_bytes()


async def claim_with_digest(database: AsyncEngine, claim: Claim, deps: WorkerDeps, into: Path) -> Claim:
    """Stages the video for a first task, releases it, and claims it again: now with the digest of the video."""
    await stage(claim, deps, into)
    await task_queue.release(database, claim.lease)
    (later_claim,) = await task_queue.claim(database, worker="w2")
    assert later_claim.sha256 is not None
    return later_claim


async def test_later_tasks_of_a_video_read_nothing_from_the_store(
    database: AsyncEngine,
    store: CountingStore,
    worker_deps: WorkerDeps,
    claim: Claim,
    clips: ClipByName,
    tmp_path: Path,
) -> None:
    later_claim = await claim_with_digest(database, claim, worker_deps, tmp_path / "first")
    reads = store.reads
    assert reads > 1
    assert await stage(later_claim, worker_deps, tmp_path / "second") == clips("h264")[0].read_bytes()
    assert store.reads == reads


async def test_workers_that_need_a_video_at_the_same_time_fetch_it_once(
    database: AsyncEngine, store: CountingStore, worker_deps: WorkerDeps, claim: Claim, tmp_path: Path
) -> None:
    later_claim = await claim_with_digest(database, claim, worker_deps, tmp_path / "first")
    worker_deps.staging_cache.remove(str(later_claim.sha256))
    reads_of_one_fetch, store.reads = store.reads, 0
    contents = await asyncio.gather(*(stage(later_claim, worker_deps, tmp_path / f"{n}") for n in range(5)))
    assert len(set(contents)) == 1
    assert store.reads == reads_of_one_fetch


async def test_damaged_copy_is_dropped_and_fetched_again(
    database: AsyncEngine,
    store: CountingStore,
    worker_deps: WorkerDeps,
    claim: Claim,
    clips: ClipByName,
    tmp_path: Path,
) -> None:
    later_claim = await claim_with_digest(database, claim, worker_deps, tmp_path / "first")
    copy = worker_deps.staging_cache.folder / str(later_claim.sha256)
    content = copy.read_bytes()
    copy.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert await stage(later_claim, worker_deps, tmp_path / "second") == clips("h264")[0].read_bytes()
    assert copy.read_bytes() == clips("h264")[0].read_bytes()


async def test_cache_without_room_keeps_nothing_and_the_task_has_its_video(
    database: AsyncEngine, worker_deps: WorkerDeps, claim: Claim, clips: ClipByName, tmp_path: Path
) -> None:
    deps = replace(worker_deps, staging_cache=StagingCache(tmp_path / "none", 0))
    assert await stage(claim, deps, tmp_path / "first") == clips("h264")[0].read_bytes()
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["locks"]


def write_files(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"file{n}" for n in range(count)]
    for path in paths:
        path.write_bytes(bytes(1000))
    return paths


def digest_of(n: int) -> str:
    return f"{n:064x}"


def test_least_recently_used_copy_is_evicted_and_a_running_task_keeps_its_file(tmp_path: Path) -> None:
    cache = StagingCache(tmp_path / "staged", 2500)
    for n, path in enumerate(write_files(tmp_path, 2)):
        os.utime(path, (n, n))
        cache.add(digest_of(n), path)
    assert cache.link(digest_of(0), tmp_path / "running")
    (third,) = write_files(tmp_path, 1)
    cache.add(digest_of(2), third)
    assert not cache.link(digest_of(1), tmp_path / "x")
    assert cache.link(digest_of(0), tmp_path / "y")
    cache.remove(digest_of(0))
    assert (tmp_path / "running").stat().st_size == 1000


def test_copies_are_evicted_when_the_disk_has_no_room(tmp_path: Path) -> None:
    cache = StagingCache(tmp_path / "staged", 10_000, free_bytes=lambda _folder: 0)
    for n, path in enumerate(write_files(tmp_path, 3)):
        cache.add(digest_of(n), path)
    cache.make_room(1000)
    assert not any(cache.link(digest_of(n), tmp_path / "x") for n in range(3))


def test_crash_while_a_copy_is_added_leaves_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, link = StagingCache(tmp_path / "staged", 10_000), os.link

    def link_and_die(source: Path, target: Path) -> None:
        link(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", link_and_die)
    (path,) = write_files(tmp_path, 1)
    with pytest.raises(KeyboardInterrupt):
        cache.add(digest_of(0), path)
    assert [file.name for file in cache.folder.iterdir()] == [digest_of(0)]


def test_adding_an_existing_copy_again_keeps_it(tmp_path: Path) -> None:
    cache = StagingCache(tmp_path / "staged", 10_000)
    for path in write_files(tmp_path, 2):
        cache.add(digest_of(0), path)
    assert cache.link(digest_of(0), tmp_path / "x")
    assert [file.name for file in cache.folder.iterdir()] == [digest_of(0)]


async def test_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    cache = StagingCache(tmp_path / "staged", 1000)
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    process = context.Process(target=hold_lock, args=(cache.folder, child))
    process.start()
    assert await asyncio.to_thread(parent.poll, 60)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), cache.fetch_lock("video"):
            pass
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(60), cache.fetch_lock("video"):
        pass
    process.join()


def hold_lock(folder: Path, connection: multiprocessing.connection.Connection) -> None:
    """Takes the lock of `video` and keeps it until the process ends."""

    async def hold() -> None:
        async with StagingCache(folder, 1000).fetch_lock("video"):
            connection.send("held")
            await asyncio.Event().wait()

    asyncio.run(hold())

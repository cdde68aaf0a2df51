"""One suite over every object store: atomic and durable writes, ranges, prefixes."""

import asyncio
import errno
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import obstore
import pytest
from obstore.store import LocalStore, MemoryStore

from benchmarks.process_measurement import read_kibibytes
from db.object_store import cloud_store
from db.object_store.cloud_store import MIN_READ_BYTES, READ_BYTES, READING_BYTES, CloudStore, read_bytes
from db.object_store.folder_store import FolderStore
from db.object_store.object_store import WRITE_BYTES, ObjectNotFound, ObjectStore
from db.object_store.store_factory import open_store
from db.values.error_catalogue import CatalogueError
from tests.support.servers import azure_server
from tests.support.servers.azure_server import AzureServer
from tests.support.servers.s3_server import S3Server

BIG = os.urandom(3 * WRITE_BYTES + 17)

CLOUDS = {"cloud: S3": "s3_server"} | ({"cloud: Azure": "azure_server"} if azure_server.PROGRAM else {})
"""The fixture of each server."""
STORES: dict[str, Callable[[Path], ObjectStore]] = {
    "folder": FolderStore,
    "cloud: memory": lambda _folder: CloudStore(MemoryStore()),
    "cloud: local": lambda folder: CloudStore(LocalStore(folder, mkdir=True)),
}


@pytest.fixture(params=[*STORES, *CLOUDS])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return open_store_of(request, tmp_path)


def open_store_of(request: pytest.FixtureRequest, folder: Path) -> ObjectStore:
    """The store of the fixture's parameter, empty."""
    if request.param not in CLOUDS:
        return STORES[request.param](folder / "objects")
    server: S3Server | AzureServer = request.getfixturevalue(CLOUDS[request.param])
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return open_store(server.new_bucket())


# "cloud: local" is missing: obstore lists a folder in no order, so a list can't continue after a key. Clouds do list in
# order, and `file://` opens a FolderStore.
@pytest.fixture(params=["folder", "cloud: memory", *CLOUDS])
def ordered_store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return open_store_of(request, tmp_path)


async def chunks(data: bytes, size: int = 70_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def read(store: ObjectStore, key: str, *span: int) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, *span)])


@pytest.mark.parametrize("data", [b"", b"x", BIG], ids=["empty", "small", "big"])
async def test_put_object_is_read_back_with_size_and_digest(store: ObjectStore, data: bytes) -> None:
    stored = await store.put("videos/one", chunks(data))
    assert (stored.size, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert await read(store, "videos/one") == data
    assert await store.size("videos/one") == len(data)


@pytest.mark.parametrize("size", [999, WRITE_BYTES, WRITE_BYTES + 1, len(BIG)])
async def test_object_does_not_depend_on_the_size_of_the_chunks(store: ObjectStore, size: int) -> None:
    stored = await store.put("videos/one", chunks(BIG, size))
    assert (stored.size, stored.sha256) == (len(BIG), hashlib.sha256(BIG).hexdigest())
    assert await read(store, "videos/one") == BIG


@pytest.mark.parametrize(
    "span", [(0, 10), (5,), (WRITE_BYTES - 3, 9), (len(BIG) - 4,), (len(BIG) - 4, 100), (len(BIG), 5)]
)
async def test_byte_range_is_read_by_its_offset(store: ObjectStore, span: tuple[int, ...]) -> None:
    await store.put("videos/one", chunks(BIG))
    end = None if len(span) == 1 else span[0] + span[1]
    assert await read(store, "videos/one", *span) == BIG[span[0] : end]


async def test_aborted_put_leaves_nothing(store: ObjectStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield BIG
        raise ConnectionResetError("the client went away")

    with pytest.raises((ConnectionResetError, CatalogueError)):
        await store.put("videos/one", broken())
    assert await store.keys("videos") == []
    with pytest.raises(ObjectNotFound):
        await store.size("videos/one")


async def test_missing_object_raises_object_not_found(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFound):
        await read(store, "videos/none")
    with pytest.raises(ObjectNotFound):
        await store.fetch("videos/none", tmp_path / "copy")
    await store.delete("videos/none")


async def test_delete_removes_only_its_own_object(store: ObjectStore) -> None:
    for key in ("results/a/1/x", "results/a/2/x", "results/b/1/x"):
        await store.put(key, chunks(b"data"))
    await store.delete("results/a/1/x")
    assert await store.keys("results") == ["results/a/2/x", "results/b/1/x"]
    assert await store.keys("results/a") == ["results/a/2/x"]
    assert await store.keys("nothing") == []


async def test_prefix_ends_at_a_slash(store: ObjectStore) -> None:
    await store.put("results/ab/x", chunks(b"data"))
    assert await store.keys("results/a") == []


async def test_object_is_fetched_as_a_local_file(store: ObjectStore, tmp_path: Path) -> None:
    await store.put("videos/one", chunks(BIG))
    assert (await store.fetch("videos/one", tmp_path / "copy")).read_bytes() == BIG


async def test_local_file_is_put_and_kept(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(BIG)
    stored = await store.put_file("results/file", tmp_path / "file")
    assert stored.sha256 == hashlib.sha256(BIG).hexdigest()
    assert (tmp_path / "file").exists()


async def test_concurrent_puts_and_deletes_under_one_prefix_all_succeed(store: ObjectStore) -> None:
    async def cycle(n: int) -> None:
        key = f"results/shared/{n}"
        for _ in range(10):
            await store.put(key, chunks(b"data"))
            await store.delete(key)
        await store.put(key, chunks(b"last"))

    await asyncio.gather(*(cycle(n) for n in range(8)))
    assert len(await store.keys("results/shared")) == 8


@pytest.mark.parametrize("key", ["../etc/passwd", "/etc/passwd", "a/../b", "", "a//b", ".staging/x", "a\x00b"])
async def test_key_cannot_leave_the_store(store: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="not an object key"):
        await store.put(key, chunks(b"data"))


async def test_healthy_store_passes_its_check(store: ObjectStore) -> None:
    await store.check()


async def test_full_disk_raises_storage_full_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path)

    def raise_no_space(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", raise_no_space)
    with pytest.raises(CatalogueError, match="storage_full"):
        await store.put("videos/one", chunks(b"data"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_full_disk_of_the_spool_raises_storage_full_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    store = CloudStore(MemoryStore())

    def raise_no_space(_descriptor: int, _blocks: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "writev", raise_no_space)
    with pytest.raises(CatalogueError, match="storage_full"):
        await store.put("videos/one", chunks(b"data"))
    assert await store.keys("videos") == []


async def test_put_that_is_cancelled_ends_after_its_transfer(store: ObjectStore) -> None:
    """Until then a thread uses the temporary file."""
    body_has_ended = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield BIG
        body_has_ended.set()

    put = asyncio.create_task(store.put("videos/one", body()))
    await body_has_ended.wait()
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    keys = await store.keys("videos")
    assert keys in ([], ["videos/one"])
    assert [await read(store, key) for key in keys] == [BIG] * len(keys)


def test_url_selects_the_store(tmp_path: Path) -> None:
    assert isinstance(open_store(f"file://{tmp_path}"), FolderStore)
    assert isinstance(open_store("memory:///"), CloudStore)


async def test_all_objects_are_listed_in_pages(ordered_store: ObjectStore) -> None:
    keys = [f"videos/{name}" for name in ("a", "a-b", "b/1", "b/2/x", "c")] + ["videos-not/x"]
    for key in keys:
        await ordered_store.put(key, chunks(b"x"))
    listed, after = [], None
    while page := await ordered_store.page("videos", after, 2):
        assert len(page) <= 2
        assert all(abs(dated.written - time.time()) < 60 for dated in page)
        listed += [dated.key for dated in page]
        after = listed[-1]
    assert sorted(listed) == keys[:-1]
    assert len(set(listed)) == len(listed)
    assert await ordered_store.page("nothing", None, 2) == []


async def test_server_that_does_not_know_where_to_begin_gives_each_object_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = CloudStore(MemoryStore())
    list_from = obstore.list
    monkeypatch.setattr(obstore, "list", lambda *prefix, offset, chunk_size: list_from(*prefix, chunk_size=chunk_size))
    for number in range(5):
        await store.put(f"videos/{number}", chunks(b"x"))
    afters = (None, "videos/1", "videos/3", "videos/4")
    pages = [[found.key for found in await store.page("videos", after, 2)] for after in afters]
    assert pages == [["videos/0", "videos/1"], ["videos/2", "videos/3"], ["videos/4"], []]


async def test_unfinished_object_of_a_dead_writer_is_removed_after_its_time(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    staged = tmp_path / ".staging" / "left"
    staged.parent.mkdir()
    staged.touch()
    assert await store.discard_unfinished(60) == 0
    os.utime(staged, (0, 0))
    assert await store.discard_unfinished(60) == 1
    assert not staged.exists()


async def test_signed_url_of_a_bucket_is_read_without_credentials_and_other_stores_have_none(
    store: ObjectStore, request: pytest.FixtureRequest
) -> None:
    await store.put("results/file", chunks(BIG))
    url = await store.signed_url("results/file", 60)
    if request.node.callspec.params["store"] not in CLOUDS:
        assert url is None
        return
    assert url is not None
    async with httpx.AsyncClient() as client:
        assert (await client.get(url)).content == BIG
        assert (await client.get(url.partition("?")[0])).status_code == 403
        assert (await client.get(url, headers={"Range": "bytes=5-9"})).content == BIG[5:10]


async def test_senders_that_stall_have_nothing_in_memory(store: ObjectStore) -> None:
    count, blocks = 16, 22
    stalled, goes_on = asyncio.Semaphore(0), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(blocks):
            yield os.urandom(WRITE_BYTES)
        stalled.release()
        await goes_on.wait()

    before = read_kibibytes(os.getpid(), "status", "VmRSS:")
    puts = [asyncio.create_task(store.put(f"videos/{number}", body())) for number in range(count)]
    for _ in puts:
        await stalled.acquire()
    grown = read_kibibytes(os.getpid(), "status", "VmRSS:") - before
    goes_on.set()
    assert {(await put).size for put in puts} == {blocks * WRITE_BYTES}
    assert grown * 1024 < count * blocks * WRITE_BYTES / 3


@pytest.mark.parametrize("length", [WRITE_BYTES - 1, WRITE_BYTES, WRITE_BYTES + 1, len(BIG)])
async def test_object_that_is_larger_than_a_spool_is_whole(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(cloud_store, "SPOOL_BYTES", WRITE_BYTES)
    stored = await store.put("videos/one", chunks(BIG[:length]))
    assert (stored.size, stored.sha256) == (length, hashlib.sha256(BIG[:length]).hexdigest())
    assert await read(store, "videos/one") == BIG[:length]


async def test_file_of_many_parts_is_whole_and_is_read_in_several_requests(store: ObjectStore, tmp_path: Path) -> None:
    content = os.urandom(1 << 20) * 21
    (tmp_path / "file").write_bytes(content)
    stored = await store.put_file("results/file", tmp_path / "file")
    assert (stored.size, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert await read(store, "results/file") == content


def test_reads_share_the_memory_and_each_gets_the_least() -> None:
    assert read_bytes(1) == READ_BYTES
    assert all(reads * read_bytes(reads) <= max(READING_BYTES, reads * MIN_READ_BYTES) for reads in range(1, 300))
    assert read_bytes(1000) == MIN_READ_BYTES


async def test_spool_is_in_the_folder_of_the_setting_and_has_no_name(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    store = open_store("memory:///", folder)

    async def body() -> AsyncIterator[bytes]:
        yield BIG
        open_files = {
            os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if _is_open(number)
        }
        assert any(path.startswith(f"{folder}/") for path in open_files)
        assert os.listdir(folder) == []

    assert (await store.put("videos/one", body())).size == len(BIG)


def _is_open(number: str) -> bool:
    return Path(f"/proc/self/fd/{number}").is_symlink()

"""Uploads by tus while the store, the database or the disk fails: no confirmed byte is lost, and uploads continue."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.acceptance import resumable_uploads
from db.object_store import overlapped_writer
from db.object_store.folder_store import FolderStore
from db.values.error_catalogue import CatalogueError
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.submission import receive_chunks
from tests.support.clients import tus_client
from tests.support.clients.api_client import MP4, open_client, status_and_code
from tests.support.clients.limited_api import assert_refused
from tests.support.state import database_rows
from tests.support.state.disturbed_database import DisturbedDatabase


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_chunks, "CHUNK_BYTES", 4000)


@asynccontextmanager
async def open_replica(deps: Deps, client: httpx.AsyncClient, **parts: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Opens a client of a replica that has other dependencies."""
    async with open_client(create_app(replace(deps, **parts)), headers=client.headers) as replica_client:
        yield replica_client


async def lose_the_answer() -> None:
    raise OperationalError("COMMIT", {}, ConnectionResetError())


async def finish_upload(client: httpx.AsyncClient, deps: Deps, path: str) -> None:
    """Sends the bytes after the committed offset, and checks that the video is complete and accepted once."""
    offset = await tus_client.committed_offset(client, path)
    assert (await tus_client.patch(client, path, offset, MP4[offset:])).status_code == 204
    assert await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(path)) == MP4
    assert (await database_rows.fetch_one(deps.database, "SELECT count(*) AS n FROM extractions")).n == 1


async def test_full_disk_during_a_chunk_keeps_the_earlier_chunks(
    ana: httpx.AsyncClient, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = overlapped_writer.write_blocks, 0

    def write_until_full(file: Any, blocks: Sequence[bytes]) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            file.write(blocks[0][:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, blocks)

    path = await tus_client.open_upload(ana, len(MP4))
    monkeypatch.setattr(overlapped_writer, "write_blocks", write_until_full)
    assert_refused(await tus_client.patch(ana, path, 0, MP4), 507, "storage_full", "service")
    assert await tus_client.committed_offset(ana, path) == 4000
    assert len(await tus_client.chunk_keys(deps.objects, path)) == 1
    assert isinstance(deps.objects, FolderStore)
    assert list((deps.objects._root / ".staging").iterdir()) == []
    await finish_upload(ana, deps, path)


@pytest.mark.parametrize("headers", [{}, tus_client.checksum(MP4)])
async def test_store_failure_during_a_request_keeps_the_committed_chunks(
    ana: httpx.AsyncClient, deps: Deps, headers: dict[str, str]
) -> None:
    class FailingStore(FolderStore):
        puts = 0

        async def put(self, key: str, chunks: AsyncIterator[bytes]) -> Any:
            self.puts += 1
            if self.puts == 3:
                raise CatalogueError("unavailable", "The object store is away.", retry_after=5)
            return await super().put(key, chunks)

    assert isinstance(deps.objects, FolderStore)
    path = await tus_client.open_upload(ana, len(MP4))
    async with open_replica(deps, ana, objects=FailingStore(deps.objects._root)) as client:
        assert_refused(await tus_client.patch(client, path, 0, MP4, headers), 503, "unavailable", "service")
    kept_chunks = 0 if headers else 2
    assert await tus_client.committed_offset(ana, path) == 4000 * kept_chunks
    assert len(await tus_client.chunk_keys(deps.objects, path)) == kept_chunks
    await finish_upload(ana, deps, path)


@pytest.mark.parametrize("nth", [1, 2])
async def test_chunk_whose_commit_was_not_answered_counts_in_the_offset(
    ana: httpx.AsyncClient, deps: Deps, nth: int
) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    database: Any = DisturbedDatabase(deps.database, nth, lose_the_answer)
    async with open_replica(deps, ana, database=database) as client:
        assert_refused(await tus_client.patch(client, path, 0, MP4), 503, "unavailable", "service")
    assert await tus_client.committed_offset(ana, path) == 4000 * nth
    await finish_upload(ana, deps, path)


async def test_video_whose_commit_was_not_answered_is_accepted(ana: httpx.AsyncClient, deps: Deps) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    database: Any = DisturbedDatabase(deps.database, 3, lose_the_answer)
    async with open_replica(deps, ana, database=database) as client:
        answer = await tus_client.patch(client, path, 0, MP4)
    assert (answer.status_code, answer.headers["video-location"]) == (204, f"/v1/videos/{tus_client.id_of(path)}")
    assert await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(path)) == MP4


@pytest.mark.parametrize("error", [OperationalError("SELECT", {}, OSError()), ZeroDivisionError()])
async def test_accepted_video_keeps_its_bytes_when_its_answer_fails(
    ana: httpx.AsyncClient, deps: Deps, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    find, path = resumable_uploads.find, await tus_client.open_upload(ana, len(MP4))

    async def fail_when_complete(database: AsyncEngine, *ids: Any) -> Any:
        upload = await find(database, *ids)
        if upload.is_complete:
            raise error
        return upload

    monkeypatch.setattr(resumable_uploads, "find", fail_when_complete)
    assert (await tus_client.patch(ana, path, 0, MP4)).status_code in {500, 503}
    monkeypatch.undo()
    assert (await ana.head(path, headers=tus_client.TUS)).headers["video-location"].endswith(tus_client.id_of(path))
    assert await tus_client.stored_bytes(deps.database, deps.objects, tus_client.id_of(path)) == MP4


class ReadOnlyDatabase(DisturbedDatabase):
    """A database after a failover: every transaction is read-only."""

    def __init__(self, database: AsyncEngine) -> None:
        async def do_nothing() -> None: ...

        super().__init__(database, 0, do_nothing)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        async with super().begin() as connection:
            await connection.execute(text("SET TRANSACTION READ ONLY"))
            yield connection


@pytest.mark.parametrize("offset", [0, 8000])
async def test_read_only_database_is_answered_with_503_and_the_upload_continues_afterwards(
    ana: httpx.AsyncClient, deps: Deps, offset: int
) -> None:
    path = await tus_client.open_upload(ana, len(MP4))
    await tus_client.patch(ana, path, 0, MP4[:offset])
    database: Any = ReadOnlyDatabase(deps.database)
    async with open_replica(deps, ana, database=database) as client:
        calls: list[Callable[[], Awaitable[httpx.Response]]] = [
            lambda: tus_client.patch(client, path, offset, MP4[offset:]),
            lambda: tus_client.create(client, len(MP4)),
            lambda: client.delete(path, headers=tus_client.TUS),
        ]
        for call in calls:
            assert status_and_code(await call()) == (503, "unavailable")
        assert await tus_client.committed_offset(client, path) == offset
    await finish_upload(ana, deps, path)

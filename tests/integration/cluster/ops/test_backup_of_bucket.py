"""`fotograma ops backup` and `restore` with a bucket as object store: a real S3 server, and a real PostgreSQL."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.local.servers.embedded_postgres import Postgres
from db.connection import open_database
from db.object_store.object_store import ObjectStore
from db.object_store.store_factory import open_store
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.integration.cluster.ops.conftest import RunOps
from tests.support.clients import api_client, tus_client
from tests.support.clients.api_client import MP4, make_result, one_chunk, publish_next_task, upload_video
from tests.support.servers.real_servers import fresh_database
from tests.support.servers.s3_server import S3Server
from tests.support.state import database_rows

IN_PARTS = MP4 + bytes(6 << 20)
"""Sent in more than one part."""
NewBucket = Callable[[], ObjectStore]


@pytest.fixture
def new_bucket(s3_server: S3Server, settings: pytest.MonkeyPatch) -> NewBucket:
    """Sets an empty bucket as the object store."""
    for name, value in s3_server.environment.items():
        settings.setenv(name, value)

    def make() -> ObjectStore:
        url = f"{s3_server.new_bucket()}/service"
        settings.setenv("FOTOGRAMA_OBJECTS_URL", url)
        return open_store(url)

    return make


@pytest.fixture
async def bucket_deps(deps: Deps, new_bucket: NewBucket, tmp_path: Path) -> AsyncIterator[Deps]:
    app_deps = api_client.make_deps(deps.database, tmp_path, deps.cache, objects=new_bucket())
    yield app_deps
    await app_deps.extraction_feed.close()
    app_deps.password_hasher.close()


@pytest.fixture
async def client(bucket_deps: Deps) -> AsyncIterator[httpx.AsyncClient]:
    async with api_client.open_client(create_app(bucket_deps)) as client:
        await api_client.log_in(client)
        yield client


def document_of(out: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(out)
    return document


async def content_of(store: ObjectStore) -> dict[str, bytes]:
    keys = [key for prefix in ("videos", "results") for key in await store.keys(prefix)]
    return {key: b"".join([block async for block in store.read(key)]) for key in keys}


async def test_bucket_is_restored_into_another_bucket_and_goes_on(
    ops: RunOps,
    settings: pytest.MonkeyPatch,
    bucket_deps: Deps,
    client: httpx.AsyncClient,
    new_bucket: NewBucket,
    postgres: Postgres,
    tmp_path: Path,
) -> None:
    done = await upload_video(client, "done.mp4", IN_PARTS)
    await publish_next_task(bucket_deps, make_result([b"one", b"two"]))
    chunked = await tus_client.open_upload(client, len(MP4))
    await tus_client.patch(client, chunked, 0, MP4[:5000])
    stored = await content_of(bucket_deps.objects)
    archive = (await client.get(f"/v1/extractions/{done['extraction']['id']}/frames.zip")).content
    made = await ops("backup", str(tmp_path / "backup"), "--objects", "--json")
    assert made.code == 0, made.err
    assert document_of(made.out)["objects"] == len(stored) == 8
    other = new_bucket()
    with fresh_database(postgres) as url:
        settings.setenv("FOTOGRAMA_DATABASE_URL", url)
        # The copies are sent from where they are: restoring large objects needs no room for temporary files.
        settings.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
        restored = await ops("restore", str(tmp_path / "backup"), "--checksums", "--json")
        settings.setattr(tempfile, "tempdir", None)
        assert restored.code == 0, restored.err + restored.out
        document = document_of(restored.out)
        assert (document["copied"], document["verified"], document["is_whole"]) == (len(stored), len(stored), True)
        assert await content_of(other) == stored
        database = open_database(url, name="api", connections=5)
        deps = api_client.make_deps(database, tmp_path, bucket_deps.cache, objects=other)
        async with api_client.open_client(create_app(deps)) as again:
            await api_client.log_in(again)
            answer = await again.get(f"/v1/extractions/{done['extraction']['id']}/frames.zip")
            assert (answer.status_code, answer.content) == (200, archive)
            finished = await tus_client.patch(again, chunked, 5000, MP4[5000:])
            assert "video-location" in finished.headers
        await deps.extraction_feed.close()
        deps.password_hasher.close()
        await database.dispose()


async def test_lost_and_damaged_objects_of_a_bucket_are_told_and_mended_from_copies(
    ops: RunOps, bucket_deps: Deps, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    lost, damaged, kept = [await upload_video(client, f"{n}.mp4", MP4 + bytes([n])) for n in range(3)]
    store = bucket_deps.objects
    stored = await content_of(store)
    assert (await ops("backup", str(tmp_path / "listed"))).code == 0
    assert (await ops("backup", str(tmp_path / "copied"), "--objects")).code == 0
    await bucket_deps.database.dispose()
    await store.delete(f"videos/{lost['id']}")
    await store.put(f"videos/{damaged['id']}", one_chunk(MP4 + b"\xff"))
    told = await ops("restore", str(tmp_path / "listed"), "--replace", "--checksums", "--json")
    document = document_of(told.out)
    assert told.code == 1
    assert (document["missing"], document["damaged"]) == ([f"videos/{lost['id']}"], [f"videos/{damaged['id']}"])
    mended = await ops("restore", str(tmp_path / "copied"), "--replace", "--checksums", "--json")
    assert (mended.code, document_of(mended.out)["copied"]) == (0, 2)
    assert await content_of(store) == stored
    assert f"videos/{kept['id']}" in stored


async def test_restore_into_a_bucket_that_refuses_writes_changes_nothing(
    ops: RunOps,
    settings: pytest.MonkeyPatch,
    s3_server: S3Server,
    bucket_deps: Deps,
    client: httpx.AsyncClient,
    tmp_path: Path,
) -> None:
    await upload_video(client)
    assert (await ops("backup", str(tmp_path / "backup"), "--objects")).code == 0
    await upload_video(client, "newer.mp4")
    await bucket_deps.database.dispose()
    for name, value in s3_server.environment_of("reader").items():
        settings.setenv(name, value)
    refused = await ops("restore", str(tmp_path / "backup"), "--replace")
    assert refused.code == 1
    assert "The object store refuses the access (AccessDenied)." in refused.err
    row = await database_rows.fetch_one(bucket_deps.database, "SELECT count(*) AS total FROM videos")
    assert row.total == 2
    # A backup without copies needs no more than this.
    assert (await ops("backup", str(tmp_path / "listed"))).code == 0

"""With a bucket instead of the folder, which is one setting, uploads, workers and downloads work the same."""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.worker.task_runner import TaskOutcome, perform
from cluster.client.async_client import AsyncClient
from db.object_store.object_store import ObjectStore
from db.object_store.store_factory import open_store
from db.queue import task_queue
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients import api_client, tus_client
from tests.support.decoding_children import start_child
from tests.support.servers.s3_server import S3Server
from tests.support.state.worker_setup import make_worker_deps
from tests.support.videos.clips import ClipByName


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return open_store(s3_server.new_bucket())


@pytest.fixture(params=[None, 60.0], ids=["streamed", "redirected"])
async def bucket_deps(
    request: pytest.FixtureRequest, deps: Deps, bucket: ObjectStore, tmp_path: Path
) -> AsyncIterator[Deps]:
    app_deps = api_client.make_deps(
        deps.database, tmp_path, deps.cache, objects=bucket, signed_url_seconds=request.param
    )
    yield app_deps
    app_deps.password_hasher.close()


async def test_video_sent_in_chunks_becomes_an_archive_that_the_client_verifies(
    database: AsyncEngine, bucket_deps: Deps, bucket: ObjectStore, clips: ClipByName, tmp_path: Path
) -> None:
    path, _ = clips("h264")
    content = path.read_bytes()
    async with api_client.listen(create_app(bucket_deps)) as port:
        address = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=address, timeout=60) as ana:
            await api_client.log_in(ana)
            sha256 = hashlib.sha256(content).hexdigest()
            upload = await tus_client.open_upload(ana, len(content), sha256=sha256)
            middle = len(content) // 2
            await tus_client.patch(ana, upload, 0, content[:middle])
            await tus_client.patch(ana, upload, middle, content[middle:])
            (claim,) = await task_queue.claim(database, worker="w1")
            worker_deps = make_worker_deps(database, bucket, tmp_path)
            child = await start_child()
            assert await perform(claim, child, worker_deps, asyncio.Event(), lambda: None) is TaskOutcome.PUBLISHED
            answer = await ana.get(f"/v1/extractions/{claim.extraction_id}/frames.zip")
            assert answer.status_code == (200 if bucket_deps.signed_url_seconds is None else 307)
            image = await ana.get(f"/v1/extractions/{claim.extraction_id}/frames/2")
            shard = await ana.get(f"/v1/extractions/{claim.extraction_id}/frames.tar")
        async with AsyncClient(address) as client:
            await client.login("ana@example.org", api_client.PASSWORD)
            extraction = await client.extraction(str(claim.extraction_id))
            archive = await client.download(extraction, tmp_path / "frames.zip")
    assert extraction.result is not None
    with zipfile.ZipFile(archive) as zipped, tarfile.open(fileobj=io.BytesIO(shard.content)) as tar:
        names = [name for name in zipped.namelist() if name.endswith(".jpg")]
        assert image.content == zipped.read(names[1])
        files = [tar.extractfile(member) for member in tar if member.name.endswith(".jpg")]
        assert [file.read() for file in files if file is not None] == [zipped.read(name) for name in names]
    assert shard.headers["content-length"] == str(len(shard.content))
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == extraction.result.sha256

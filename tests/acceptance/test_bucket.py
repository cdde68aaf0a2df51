"""`fotograma up` with a bucket in place of the folder: one setting, beside the bucket's credentials."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from actors.maintenance.garbage_cleaners import GarbageCleaner
from db.connection import open_database
from db.object_store.object_store import ObjectStore
from db.object_store.store_factory import open_store
from fotograma import ApiError
from tests.support.clients.eager_uploads import growth_while_clients_stall
from tests.support.servers.running_service import Service
from tests.support.servers.s3_server import S3Server
from tests.support.videos.clips import ClipByName
from tests.support.videos.padded_clip import padded_copy
from tests.support.videos.result_archives import numbers_in, read_archive

VIDEO_BYTES = 80_000_000
"""Two chunks."""
STALLED_BYTES = 8_000_000
BOUND_KIBIBYTES = 100_000_000 // 1024
MAX_SECONDS = 240


@pytest.fixture(scope="module")
def bucket_url(s3_server: S3Server) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in s3_server.environment.items():
            environment.setenv(name, value)
        yield s3_server.new_bucket()


@pytest.fixture(scope="module")
def service(bucket_url: str) -> Iterator[Service]:
    """A service of its own, whose files are in the bucket."""
    with tempfile.TemporaryDirectory(prefix="fotograma-", dir="/tmp") as folder:
        environment = {"FOTOGRAMA_OBJECTS_URL": bucket_url}
        service = Service(Path(folder) / "data", workers=1, arguments=["--no-dashboard"], environment=environment)
        with service.running():
            yield service


@pytest.fixture(scope="module")
def bucket(bucket_url: str) -> ObjectStore:
    return open_store(bucket_url)


def collect_garbage(service: Service, bucket: ObjectStore) -> None:
    """Runs the job of maintenance that deletes the objects of deleted videos, without the pause before it."""

    async def run() -> None:
        database = open_database(service.database_url(), name="test")
        assert await GarbageCleaner(database, bucket, lease_seconds=0.0).run() > 0
        await database.dispose()

    asyncio.run(run())


def test_video_is_uploaded_extracted_downloaded_exported_and_deleted(
    service: Service, bucket: ObjectStore, clips: ClipByName, tmp_path: Path
) -> None:
    clip, truth = clips("h264")
    path = padded_copy(clip, tmp_path / "holiday.mp4", VIDEO_BYTES, randomness=random.Random(5))
    with service.client() as client:
        video = client.upload(path, spec={"sample": {"mode": "all"}})
        extraction = client.wait(video.extraction, timeout_seconds=120)
        archive = client.download(extraction, tmp_path / "frames.zip")
        assert numbers_in(read_archive(archive)[1]) == truth.numbers
        assert len(asyncio.run(bucket.keys(f"videos/{video.id}"))) == 2
        assert service.object_files() == set()

        assert client.tokens is not None
        headers = {"Authorization": f"Bearer {client.tokens.access_token}"}
        with (
            (tmp_path / "account.zip").open("wb") as file,
            httpx.stream("GET", f"{service.url}/v1/me/export", headers=headers, timeout=60) as export,
        ):
            assert export.status_code == 200
            for block in export.iter_bytes():
                file.write(block)
        with zipfile.ZipFile(tmp_path / "account.zip") as exported:
            assert exported.testzip() is None
            exported.extractall(tmp_path / "account")
        account = tmp_path / "account"
        assert json.loads((account / "account.json").read_bytes())["email"] == client.me().email
        (row,) = json.loads((account / "videos.json").read_bytes())
        assert (account / row["file"]).read_bytes() == path.read_bytes()
        (result,) = json.loads((account / "extractions.json").read_bytes())
        assert (account / result["files"] / "frames.zip").read_bytes() == archive.read_bytes()
        assert not (account / "missing.txt").exists()

        client.delete(video)
        with pytest.raises(ApiError) as gone:
            client.video(video.id)
        assert gone.value.status == 404
    collect_garbage(service, bucket)
    assert asyncio.run(bucket.keys("videos")) == asyncio.run(bucket.keys("results")) == []


async def test_memory_stays_when_50_clients_send_more_than_the_bucket_takes(service: Service) -> None:
    grown = await growth_while_clients_stall(service, STALLED_BYTES, MAX_SECONDS)
    print(f"KiB: {grown}")
    assert max(grown.values()) < BOUND_KIBIBYTES, grown

"""The SDK over real connections: streams, broken connections, threads and tasks."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fotograma import AsyncClient, Client, ConnectionFailed, RetryPolicy, Tokens
from tests.support.clients.fake_messages import act_and_drop_connection, drop_connection, make_archive, truncate_body
from tests.support.clients.fake_service import FakeService
from tests.support.clients.fake_service_http_server import serve_fake_service
from tests.support.own_process import command_of
from tests.support.programs import upload_file

AT_ONCE = RetryPolicy(first_seconds=0.0)


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    with serve_fake_service(service) as address:
        yield address


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"video" + random.Random(1).randbytes(5_000_000))
    return path


def test_upload_and_download_survive_broken_connections(
    url: str, service: FakeService, clip: Path, tmp_path: Path
) -> None:
    service.archive = make_archive([f"f{n}.jpg" for n in range(20)], 100_000)
    service.add_faults("POST", "/v1/uploads", act_and_drop_connection)
    service.add_faults("GET", ".*zip", truncate_body(700_001), drop_connection, truncate_body(1))
    with Client(url, "fg_key", retry=AT_ONCE) as client:
        video = client.upload(clip)
        client.download(client.wait(video.extraction), tmp_path / "out.zip")
    assert service.file_contents == {video.id: clip.read_bytes()}
    assert (tmp_path / "out.zip").read_bytes() == service.archive
    assert [request.headers.get("range") for request in service.requests_to("GET", ".*zip")] == [
        None,
        "bytes=700001-",
        "bytes=700001-",
        "bytes=700002-",
    ]


async def test_many_clips_are_extracted_concurrently(
    url: str, service: FakeService, clip: Path, tmp_path: Path
) -> None:
    service.add_faults("POST", "/v1/uploads", act_and_drop_connection, drop_connection)
    async with AsyncClient(url, "fg_key", retry=AT_ONCE) as client:

        async def upload_and_download(number: int) -> Path:
            video = await client.upload(clip)
            return await client.download(await client.wait(video.extraction), tmp_path / f"{number}.zip")

        paths = await asyncio.gather(*map(upload_and_download, range(12)))
    assert len(service.file_contents) == 12
    assert {path.read_bytes() for path in paths} == {service.archive}


def test_upload_does_not_load_the_file_into_memory(url: str, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.write(b"video")
        file.truncate(40_000_000)
    # In another process, because the fake service in this process keeps the body in memory.
    command = command_of(upload_file, url, large)
    growth_kib = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(growth_kib) < 8_000  # KiB


def test_threads_that_share_a_client_renew_its_tokens_once(url: str, service: FakeService) -> None:
    with Client(url, tokens=Tokens("old", "refresh-0")) as client, ThreadPoolExecutor(8) as threads:
        barrier = threading.Barrier(8)

        def fetch_own_id(_: int) -> str:
            barrier.wait()
            return client.me().id

        assert set(threads.map(fetch_own_id, range(8))) == {"u-1"}
    assert service.refresh_count == 1


async def test_tasks_that_share_a_client_renew_its_tokens_once(url: str, service: FakeService) -> None:
    async with AsyncClient(url, tokens=Tokens("old", "refresh-0")) as client:
        assert {account.id for account in await asyncio.gather(*(client.me() for _ in range(8)))} == {"u-1"}
    assert service.refresh_count == 1


async def test_cancelled_download_leaves_no_file(url: str, service: FakeService, clip: Path, tmp_path: Path) -> None:
    service.archive = make_archive(["f.jpg"], 20_000_000)
    arrived = asyncio.Event()
    async with AsyncClient(url, "fg_key", retry=AT_ONCE) as client:
        extraction = await client.wait((await client.upload(clip)).extraction)
        task = asyncio.create_task(
            client.download(extraction, tmp_path / "out.zip", on_received=lambda *_: arrived.set())
        )
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_unreachable_server_is_an_error_with_its_address() -> None:
    with (
        Client("http://127.0.0.1:1", "fg_key", retry=AT_ONCE) as client,
        pytest.raises(ConnectionFailed, match=r"http://127\.0\.0\.1:1 can't be reached"),
    ):
        client.me()

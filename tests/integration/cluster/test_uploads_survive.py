"""Uploads of the SDK and the command line survive broken connections, and the death of the client or the server."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from cluster.client.uploads.tus_protocol import PIECE_BYTES
from fotograma import AsyncClient, RetryPolicy
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients import api_client
from tests.support.clients.tus_client import stored_bytes
from tests.support.servers.cutting_proxy import CuttingProxy

SIZE = 40_000_000
RETRY_OFTEN = RetryPolicy(first_seconds=0.01, max_seconds=0.1, attempts=None)
UPLOAD = """
import sys
from fotograma import Client
url, token, path, state = sys.argv[1:]
Client(url, token, upload_state=state).upload(path)
"""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "holiday.mp4"
    path.write_bytes(api_client.MP4 + random.Random(7).randbytes(SIZE))
    return path


@asynccontextmanager
async def proxied(deps: Deps, proxy: CuttingProxy) -> AsyncIterator[str]:
    async with api_client.listen(create_app(deps)) as port, proxy.listen() as url:
        proxy.target_port = port
        try:
            yield url
        finally:
            proxy.cut_all()


async def register_and_log_in(deps: Deps) -> str:
    """Creates an account; returns its access token."""
    async with api_client.listen(create_app(deps)) as port, AsyncClient(f"http://127.0.0.1:{port}") as client:
        await client.register("ana@example.org", api_client.PASSWORD)
        return (await client.login("ana@example.org", api_client.PASSWORD)).access_token


async def upload_count(deps: Deps) -> int:
    async with deps.database.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM uploads"))).scalar_one())


async def test_upload_over_connections_cut_at_random_bytes_is_complete_and_unique(deps: Deps, video: Path) -> None:
    rng, token = random.Random(11), await register_and_log_in(deps)
    proxy = CuttingProxy(None, [rng.randrange(1, 3_000_000) for _ in range(20)])
    async with proxied(deps, proxy) as url, AsyncClient(url, token, retry=RETRY_OFTEN) as client:
        uploaded = await client.upload(video)
    assert proxy.cut_connections == 20
    assert await stored_bytes(deps.database, deps.objects, uploaded.id) == video.read_bytes()
    assert await upload_count(deps) == 1


async def test_upload_continues_after_a_restart_of_the_server(deps: Deps, video: Path) -> None:
    token, proxy = await register_and_log_in(deps), CuttingProxy(None)
    proxy.stall_after_bytes = SIZE // 2
    async with proxy.listen() as url, AsyncClient(url, token, retry=RETRY_OFTEN) as client:
        async with api_client.listen(create_app(deps)) as port:
            proxy.target_port = port
            uploading = asyncio.create_task(client.upload(video))
            await proxy.stalled.wait()
            proxy.target_port, proxy.stall_after_bytes = None, None
            proxy.cut_all()
        async with api_client.listen(create_app(deps)) as port:
            proxy.target_port = port
            uploaded = await uploading
    assert await stored_bytes(deps.database, deps.objects, uploaded.id) == video.read_bytes()
    assert proxy.received < SIZE + 2 * PIECE_BYTES


async def test_several_uploads_over_cut_connections_all_arrive(deps: Deps, tmp_path: Path) -> None:
    rng, token, paths = random.Random(5), await register_and_log_in(deps), [tmp_path / f"{n}.mp4" for n in range(6)]
    for number, path in enumerate(paths):
        path.write_bytes(api_client.MP4 + rng.randbytes(number * 3_000_000))
    proxy = CuttingProxy(None, [rng.randrange(1, 4_000_000) for _ in range(20)])
    async with proxied(deps, proxy) as url, AsyncClient(url, token, retry=RETRY_OFTEN) as client:
        videos = await client.submit(paths)
    for uploaded, path in zip(videos, paths, strict=True):
        assert await stored_bytes(deps.database, deps.objects, uploaded.id) == path.read_bytes()
    assert await upload_count(deps) == len(paths)


@pytest.mark.parametrize("client_kind", ["SDK", "command"])
async def test_killed_client_resumes_at_the_offset_of_the_service(
    deps: Deps, video: Path, tmp_path: Path, client_kind: str
) -> None:
    token, proxy, state = await register_and_log_in(deps), CuttingProxy(None), tmp_path / "fotograma" / "uploads.json"
    proxy.stall_after_bytes = SIZE * 3 // 4
    async with proxied(deps, proxy) as url:
        sdk = [sys.executable, "-c", UPLOAD, url, token, str(video), str(state)]
        command = [sys.executable, "-m", "cluster.cli.app", "extract", str(video), "-o", str(tmp_path / "out")]
        environ = os.environ | {"FOTOGRAMA_URL": url, "FOTOGRAMA_API_KEY": token, "XDG_STATE_HOME": str(tmp_path)}
        killed = await asyncio.create_subprocess_exec(*(sdk if client_kind == "SDK" else command), env=environ)
        await proxy.stalled.wait()
        killed.send_signal(signal.SIGKILL)
        assert await killed.wait() == -signal.SIGKILL
        proxy.stall_after_bytes, progress = None, list[int]()
        proxy.cut_all()
        async with AsyncClient(url, token, retry=RETRY_OFTEN, upload_state=state) as client:
            uploaded = await client.upload(video, on_sent=lambda sent, _: progress.append(sent))
    assert await stored_bytes(deps.database, deps.objects, uploaded.id) == video.read_bytes()
    assert await upload_count(deps) == 1
    assert PIECE_BYTES <= progress[0] < SIZE
    assert os.stat(state).st_mode & 0o777 == 0o600


async def test_two_clients_that_send_the_same_file_create_one_video(deps: Deps, video: Path, tmp_path: Path) -> None:
    token, state = await register_and_log_in(deps), tmp_path / "uploads.json"
    async with proxied(deps, CuttingProxy(None)) as url:
        clients = [AsyncClient(url, token, retry=RETRY_OFTEN, upload_state=state) for _ in range(2)]
        videos = await asyncio.gather(*(client.upload(video, by_content=True) for client in clients))
        for client in clients:
            await client.close()
    assert videos[0].id == videos[1].id
    assert await stored_bytes(deps.database, deps.objects, videos[0].id) == video.read_bytes()


async def test_large_file_is_never_held_in_memory(deps: Deps, tmp_path: Path) -> None:
    large, token = tmp_path / "large.mp4", await register_and_log_in(deps)
    with large.open("wb") as file:
        file.write(api_client.MP4)
        file.truncate(150_000_000)
    script = (
        "import sys, resource; from fotograma import Client\n"
        "client = Client(*sys.argv[1:3]); client.me()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "client.upload(sys.argv[3])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    async with proxied(deps, CuttingProxy(None)) as url:
        command = [sys.executable, "-c", script, url, token, str(large)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        growth_kib, _ = await process.communicate()
    assert int(growth_kib) < 8_000  # KiB

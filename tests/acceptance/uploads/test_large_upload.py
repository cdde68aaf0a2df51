"""A large video on a bad network: cut connections, and a client, a replica and a service that are killed.

It has 200 MB. With FOTOGRAMA_SUITE=full it has more than 4 GiB, and needs 15 GB of free disk space.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from tests.support.servers.cutting_proxy import CuttingProxy
from tests.support.servers.running_service import FOTOGRAMA, PASSWORD, Service
from tests.support.videos.clips import ClipByName
from tests.support.videos.padded_clip import padded_copy
from tests.support.videos.result_archives import numbers_in, read_archive

FULL = os.environ.get("FOTOGRAMA_SUITE") == "full"
VIDEO_BYTES = (4 << 30) + 100_000_000 if FULL else 200_000_000
ALL = json.dumps({"sample": {"mode": "all"}})
CUTS = 20
MAX_SECONDS = 1800 if FULL else 300


class CommandLine:
    """`fotograma` of one user, with files of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self._environment = {
            **os.environ,
            "FOTOGRAMA_URL": url,
            "FOTOGRAMA_PASSWORD": PASSWORD,
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
        }

    async def start(self, *arguments: str) -> Process:
        return await asyncio.create_subprocess_exec(
            FOTOGRAMA, *arguments, env=self._environment, stdout=PIPE, stderr=PIPE
        )

    async def run(self, *arguments: str) -> str:
        """What it prints."""
        process = await self.start(*arguments)
        told, complaints = await process.communicate()
        assert process.returncode == 0, complaints.decode()[-3000:]
        return told.decode()


async def received_bytes(proxy: CuttingProxy, count: int, client: Process) -> None:
    """Waits until the proxy has forwarded so many bytes more, and holds back what follows."""
    proxy.stalled.clear()
    proxy.stall_after_bytes = proxy.received + count
    stalled, ended = asyncio.create_task(proxy.stalled.wait()), asyncio.create_task(client.wait())
    await asyncio.wait((stalled, ended), timeout=MAX_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    assert stalled.done(), f"{proxy.received} bytes, {proxy.cut_connections} cuts, the client: {client.returncode}"
    ended.cancel()
    proxy.stall_after_bytes = None


async def test_large_upload_is_whole_after_20_cuts_and_the_deaths_of_client_replica_and_service(
    service: Service, clips: ClipByName, tmp_path: Path
) -> None:
    clip, truth = clips("h264")
    chance = random.Random(20)
    video = padded_copy(clip, tmp_path / "concert.mp4", VIDEO_BYTES, randomness=chance)
    cuts = [chance.randrange(1, VIDEO_BYTES // 40) for _ in range(CUTS)]
    # The first connection is that of the log-in.
    proxy = CuttingProxy(service.port, [None, *cuts])
    async with proxy.listen() as url:
        user = CommandLine(url, tmp_path)
        await user.run("login", "--register", "--url", url, "--email", "concert@example.org")
        extract = "extract", str(video), "-o", str(tmp_path / "frames"), "--spec", ALL, "--json"

        client = await user.start(*extract)
        async with asyncio.timeout(MAX_SECONDS):
            while proxy.cut_connections < CUTS and client.returncode is None:
                await asyncio.sleep(0.05)
        await received_bytes(proxy, VIDEO_BYTES // 10, client)
        client.kill()
        await client.communicate()
        proxy.cut_all()

        client = await user.start(*extract)
        await received_bytes(proxy, VIDEO_BYTES // 10, client)
        (replica,) = service.replica_pids("api")
        os.kill(replica, signal.SIGKILL)

        await received_bytes(proxy, VIDEO_BYTES // 10, client)
        await asyncio.to_thread(service.kill_everything)
        await asyncio.to_thread(service.start)
        told, complaints = await asyncio.wait_for(client.communicate(), MAX_SECONDS)
    assert client.returncode == 0, complaints.decode()[-3000:]

    document = json.loads(told)
    assert document["summary"]["sent_bytes"] < VIDEO_BYTES
    assert numbers_in(read_archive(tmp_path / "frames" / "concert.zip")[1]) == truth.numbers
    with video.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert service.fetch_rows("SELECT sha256 FROM videos WHERE size = %s", VIDEO_BYTES) == [(digest,)]
    assert service.fetch_rows("SELECT received FROM uploads WHERE size = %s", VIDEO_BYTES) == [(VIDEO_BYTES,)]

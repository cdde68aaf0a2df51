"""Many clients that send at once while the application stands still: the memory of the service stays as it is.

Each of 50 clients sends 16 MB. With FOTOGRAMA_SUITE=full it sends 400 MB, and 25 GB of free disk space are needed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

from benchmarks.process_measurement import read_kibibytes
from benchmarks.service_memory import Peak, sampled_peak
from tests.support.clients import tus_client
from tests.support.clients.api_client import MP4
from tests.support.servers.running_service import Service

FULL = os.environ.get("FOTOGRAMA_SUITE") == "full"
CLIENTS = 50
UPLOAD_BYTES = 400_000_000 if FULL else 16_000_000
BOUND_KIBIBYTES = 100_000_000 // 1024
BLOCK = bytes(1 << 18)
STILL_SECONDS = 2.0
MAX_SECONDS = 1200 if FULL else 120


class EagerClient:
    """Sends one upload in one request, as fast as the service takes it. sent: the bytes that the kernel has taken."""

    def __init__(self, port: int, headers: dict[str, str], path: str) -> None:
        self._port, self._headers, self.path = port, headers, path
        self.sent = 0

    async def send(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            fixed = {
                "Host": "fotograma.test",
                "Tus-Resumable": "1.0.0",
                "Content-Type": tus_client.CHUNK,
                "Content-Length": str(UPLOAD_BYTES),
                "Upload-Offset": "0",
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in (self._headers | fixed).items())
            writer.write(f"PATCH {self.path} HTTP/1.1\r\n{head}\r\n".encode())
            block = MP4
            while block:
                writer.write(block)
                await writer.drain()
                self.sent += len(block)
                block = BLOCK[: UPLOAD_BYTES - self.sent]
            answer = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        finally:
            writer.close()
        pairs = (line.partition(": ") for line in answer[1:] if line)
        return int(answer[0].split()[1]), {name.lower(): value for name, _, value in pairs}


@contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """The processes stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def until(clients: Sequence[EagerClient], share: float) -> None:
    """Until the clients have sent this share of all bytes."""
    async with asyncio.timeout(MAX_SECONDS):
        while sum(client.sent for client in clients) < share * CLIENTS * UPLOAD_BYTES:
            await asyncio.sleep(0.05)


async def until_nothing_moves(clients: Sequence[EagerClient]) -> int:
    """Until no client could send a byte for some time. Returns how much they have sent."""
    async with asyncio.timeout(MAX_SECONDS):
        before = -1
        while (sent := sum(client.sent for client in clients)) > before:
            before = sent
            await asyncio.sleep(STILL_SECONDS)
    return sent


async def test_memory_stays_when_50_clients_send_while_the_application_stands_still(service: Service) -> None:
    replicas, headers = service.replica_pids("api"), service.authorization()
    watched = [*replicas, *service.pids_named("haproxy")]
    assert len(watched) == 2

    def memory() -> int:
        return sum(read_kibibytes(pid, "smaps_rollup", "Pss:") for pid in watched)

    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=MAX_SECONDS) as http:
        paths = [await tus_client.open_upload(http, UPLOAD_BYTES) for _ in range(CLIENTS)]
        clients = [EagerClient(service.port, headers, path) for path in paths]
        before = memory()
        peaks = dict[str, Peak]()
        with stopped(replicas), sampled_peak(memory) as peaks["stalled"]:
            answers = [asyncio.create_task(client.send()) for client in clients]
            assert await until_nothing_moves(clients) < CLIENTS * UPLOAD_BYTES
        with sampled_peak(memory) as peaks["draining"]:
            await until(clients, 0.5)
        with stopped(replicas), sampled_peak(memory) as peaks["stalled again"]:
            assert await until_nothing_moves(clients) < CLIENTS * UPLOAD_BYTES
        with sampled_peak(memory) as peaks["draining again"]:
            for answer, client in zip(answers, clients, strict=True):
                status, told = await asyncio.wait_for(answer, MAX_SECONDS)
                assert (status, told.get("upload-offset")) == (204, str(UPLOAD_BYTES)), told
                assert told["video-location"] == f"/v1/videos/{tus_client.id_of(client.path)}"
                assert (await http.delete(told["video-location"])).status_code == 204
    grown = {when: peak.kibibytes - before for when, peak in peaks.items()}
    print(f"KiB beyond {before}: {grown}")
    assert max(grown.values()) < BOUND_KIBIBYTES, grown
    assert service.replica_pids("api") == replicas

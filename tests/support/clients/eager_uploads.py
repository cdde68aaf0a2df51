"""Many clients that send at once while the application stands still, and what memory the service takes meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import httpx

from benchmarks.process_measurement import read_kibibytes
from benchmarks.service_memory import Peak, sampled_peak
from tests.support.clients import tus_client
from tests.support.clients.api_client import MP4
from tests.support.servers.running_service import Service

CLIENTS = 50
BLOCK = bytes(1 << 18)
STILL_SECONDS = 2.0
RETRY_SECONDS = 1.0
INTERRUPTED = {409, 423, 502, 503}
"""The service can't take the bytes at the moment, or still writes what an earlier connection brought."""


class EagerClient:
    """Sends one upload as fast as the service takes it. sent: the bytes that the kernel has taken.

    As the clients of tus do, it goes on from the service's offset after a broken connection and after an answer of
    INTERRUPTED. interruptions: what happened each time.
    """

    def __init__(self, http: httpx.AsyncClient, port: int, headers: Mapping[str, str], path: str, size: int) -> None:
        self._http, self._port, self._headers, self.path, self._size = http, port, headers, path, size
        self.sent = 0
        self.interruptions = list[str]()

    async def send(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of the last answer."""
        while True:
            try:
                status, headers = await self._send_rest()
                if status not in INTERRUPTED:
                    return status, headers
                self.interruptions.append(f"{status} at {self.sent}: {headers}")
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                self.interruptions.append(f"{error!r} at {self.sent}")
            await asyncio.sleep(RETRY_SECONDS)
            upload = await self._http.head(self.path, headers=tus_client.TUS)
            self.sent = int(upload.headers.get("Upload-Offset", self.sent))

    async def _send_rest(self) -> tuple[int, dict[str, str]]:
        """Sends what the service has not got yet, in one request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            fixed = {
                "Host": "fotograma.test",
                "Tus-Resumable": "1.0.0",
                "Content-Type": tus_client.CHUNK,
                "Content-Length": str(self._size - self.sent),
                "Upload-Offset": str(self.sent),
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in {**self._headers, **fixed}.items())
            writer.write(f"PATCH {self.path} HTTP/1.1\r\n{head}\r\n".encode())
            # A service that refuses the request answers, and closes the connection before it has the whole body.
            with suppress(ConnectionError):
                await self._send_body(writer)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        finally:
            writer.close()
        pairs = (line.partition(": ") for line in answer[1:] if line)
        return int(answer[0].split()[1]), {name.lower(): value for name, _, value in pairs}

    async def _send_body(self, writer: asyncio.StreamWriter) -> None:
        block = MP4[self.sent :] or BLOCK[: self._size - self.sent]
        while block:
            writer.write(block)
            await writer.drain()
            self.sent += len(block)
            block = BLOCK[: self._size - self.sent]


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


async def growth_while_clients_stall(service: Service, upload_bytes: int, max_seconds: float) -> dict[str, int]:
    """CLIENTS uploads of so many bytes each are sent; the API replica is stopped at their beginning and in the middle.

    Returns by how many KiB HAProxy and the replica have grown, at most, in each part of it. All uploads must end well.
    """
    replicas, headers = service.replica_pids("api"), service.authorization()
    watched = [*replicas, *service.pids_named("haproxy")]
    assert len(watched) == 2

    def memory() -> int:
        return sum(read_kibibytes(pid, "status", "VmRSS:") for pid in watched)

    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=max_seconds) as http:
        paths = [await tus_client.open_upload(http, upload_bytes) for _ in range(CLIENTS)]
        clients = [EagerClient(http, service.port, headers, path, upload_bytes) for path in paths]
        before, all_bytes = memory(), CLIENTS * upload_bytes
        peaks = dict[str, Peak]()
        async with asyncio.timeout(max_seconds):
            with stopped(replicas), sampled_peak(memory) as peaks["stalled"]:
                answers = [asyncio.create_task(client.send()) for client in clients]
                assert await _until_nothing_moves(clients) < all_bytes
            with sampled_peak(memory) as peaks["draining"]:
                while _sent_bytes(clients) < all_bytes // 2:
                    await asyncio.sleep(0.05)
            with stopped(replicas), sampled_peak(memory) as peaks["stalled again"]:
                assert await _until_nothing_moves(clients) < all_bytes
            with sampled_peak(memory) as peaks["draining again"]:
                for answer, client in zip(answers, clients, strict=True):
                    status, told = await answer
                    assert (status, told.get("upload-offset")) == (204, str(upload_bytes)), told
                    assert told["video-location"] == f"/v1/videos/{tus_client.id_of(client.path)}"
                    assert (await http.delete(told["video-location"])).status_code == 204
    print("interruptions:", [event for client in clients for event in client.interruptions])
    assert service.replica_pids("api") == replicas
    return {when: peak.kibibytes - before for when, peak in peaks.items()}


def _sent_bytes(clients: Sequence[EagerClient]) -> int:
    return sum(client.sent for client in clients)


async def _until_nothing_moves(clients: Sequence[EagerClient]) -> int:
    """Until no client could send a byte for some time. Returns how much they have sent."""
    before = -1
    while (sent := _sent_bytes(clients)) > before:
        before = sent
        await asyncio.sleep(STILL_SECONDS)
    return sent

"""The servers that take and send the same files: the product behind each of its proxies, and plain uvicorn."""

from __future__ import annotations

import hashlib
import http.client
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import httpx
import psutil

from benchmarks.process_measurement import read_kibibytes
from benchmarks.upload import plain_server, serve_program
from benchmarks.upload.ingresses import proxies_and_replicas, running, temporary_folder
from benchmarks.upload.serve_program import Mode
from cluster.client import httpx_adapter
from cluster.client.local_files.local_file import FilePiece, stat_file
from cluster.client.uploads import tus_protocol
from fotograma import Client
from tests.support.own_process import command_of
from tests.support.servers.running_service import PASSWORD, Service, free_port
from tests.support.videos.clips import ClipSpec, make_clip

EMAIL = "benchmark@example.org"
RECEIVE_BYTES = 1 << 20
BLOCK = secrets.token_bytes(1 << 24)
CLIP = ClipSpec(frames=25, fps=Fraction(25))

UVICORN, PIECES, UP, SERVE = "uvicorn", "uvicorn, 16 MiB requests", "`fotograma up`", "behind Serve's proxy"


class Door(Protocol):
    """pids: the processes that the bytes pass through: proxies and replica."""

    @property
    def pids(self) -> tuple[int, ...]: ...

    def upload(self, path: Path) -> None:
        """Sends one file. Several threads may call it."""

    def download(self) -> int:
        """Receives the large file and drops it. Returns its size."""

    def clear(self) -> None:
        """Removes the bytes of all uploads."""


@dataclass(frozen=True, slots=True)
class PlainDoor:
    """An application that writes bodies to the disk (`plain_server`).

    piece_bytes: the largest body of a request; None: a file is one request.
    """

    port: int
    pids: tuple[int, ...]
    folder: Path
    piece_bytes: int | None

    def upload(self, path: Path) -> None:
        """With the HTTP client and the blocks of the SDK, so that the sender needs as long."""
        file = stat_file(path)
        step = self.piece_bytes or file.size
        with httpx.Client(**httpx_adapter.client_arguments(f"http://127.0.0.1:{self.port}", None)) as client:
            for start in range(0, file.size, step):
                piece = FilePiece(file, start, min(step, file.size - start), _ignore)
                headers = {"Content-Type": piece.content_type, "Content-Length": str(piece.length)}
                client.post("/", content=piece.chunks(), headers=headers).raise_for_status()

    def download(self) -> int:
        return receive(self.port, "/", {})

    def clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name != plain_server.DOWNLOAD:
                path.unlink()


@dataclass(frozen=True, slots=True)
class ProductDoor:
    """The API. objects: the folder of its store. extraction_id: the one whose archive is downloaded."""

    port: int
    pids: tuple[int, ...]
    client: Client
    objects: Path
    extraction_id: str

    def upload(self, path: Path) -> None:
        self.client.upload(path, on_sent=_ignore)

    def download(self) -> int:
        # Renews the token.
        self.client.me()
        assert self.client.tokens is not None
        headers = {"Authorization": f"Bearer {self.client.tokens.access_token}"}
        return receive(self.port, f"/v1/extractions/{self.extraction_id}/frames.zip", headers)

    def clear(self) -> None:
        shutil.rmtree(self.objects / "videos")


def memory_kibibytes(door: Door) -> int:
    """The sum of the proportional set sizes, or of the resident sets where the system does not tell those."""
    return sum(
        read_kibibytes(pid, "smaps_rollup", "Pss:") or read_kibibytes(pid, "status", "VmRSS:") for pid in door.pids
    )


def receive(port: int, path: str, headers: dict[str, str]) -> int:
    """GETs a body and drops it. Returns its size."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    buffer, received = bytearray(RECEIVE_BYTES), 0
    while count := response.readinto(buffer):
        received += count
    connection.close()
    return received


def write_file(path: Path, size: int) -> None:
    """Writes a file that begins as an MP4 does. The rest does not compress."""
    with path.open("wb") as file:
        file.write(size.to_bytes(4, "big", signed=False) if size < 1 << 32 else (0).to_bytes(4, "big"))
        file.write(b"free")
        left = size - 8
        while left:
            left -= file.write(BLOCK[:left])


@contextmanager
def opened_doors(folder: Path, archive_bytes: int) -> Iterator[dict[str, Door]]:
    """All servers at once, each with a file of the same size to download. They wait for requests."""
    with ExitStack() as stack:
        doors = dict[str, Door](stack.enter_context(_plain_doors(folder / "plain", archive_bytes)))
        doors |= stack.enter_context(_product_doors(folder / "data", archive_bytes))
        yield doors


@contextmanager
def _plain_doors(folder: Path, archive_bytes: int) -> Iterator[dict[str, Door]]:
    folder.mkdir()
    write_file(folder / plain_server.DOWNLOAD, archive_bytes)
    port = free_port()
    with running(command_of(plain_server, port, folder), os.environ) as process:
        yield {
            UVICORN: PlainDoor(port, (process.pid,), folder, None),
            PIECES: PlainDoor(port, (process.pid,), folder, tus_protocol.PIECE_BYTES),
        }


@contextmanager
def _product_doors(data_dir: Path, archive_bytes: int) -> Iterator[dict[str, Door]]:
    service = Service(data_dir, workers=1)
    service.start()
    try:
        client = Client(service.url)
        client.register(EMAIL, PASSWORD)
        client.login(EMAIL, PASSWORD)
        objects = data_dir / "objects"
        extraction_id = _large_result(service, client, objects, archive_bytes)
        # Workers that read what has arrived would be measured as well: their tasks are ready tomorrow.
        service.execute("ALTER TABLE tasks ALTER COLUMN ready_at SET DEFAULT now() + interval '1 day'")
        pids = (*service.pids_named("haproxy"), *service.replica_pids("api"))
        with temporary_folder() as folder:
            port = free_port()
            environment = _environment(service, folder)
            with running(command_of(serve_program, Mode.API.value, port, folder), environment) as process:
                serve_client = Client(f"http://127.0.0.1:{port}")
                serve_client.login(EMAIL, PASSWORD)
                proxies, replicas = proxies_and_replicas(process.pid)
                yield {
                    UP: ProductDoor(service.port, pids, client, objects, extraction_id),
                    SERVE: ProductDoor(port, (*proxies, *replicas), serve_client, objects, extraction_id),
                }
    finally:
        service.terminate()


def _environment(service: Service, folder: Path) -> dict[str, str]:
    """That of a replica behind Serve's proxy which shares the servers of `fotograma up`."""
    (replica,) = service.replica_pids("api")
    settings = {
        name: value for name, value in psutil.Process(replica).environ().items() if name.startswith("FOTOGRAMA_")
    }
    del settings["FOTOGRAMA_API_SOCKETS"], settings["FOTOGRAMA_SUPERVISOR_STATE"]
    # The default: such a replica holds a whole request in memory.
    del settings["FOTOGRAMA_UPLOAD_REQUEST_MAX_BYTES"]
    return serve_program.environment(Mode.API, folder) | settings


def _large_result(service: Service, client: Client, objects: Path, size: int) -> str:
    """Extracts a clip, and puts a large file in the place of its archive. Returns the extraction's id."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "clip.mp4")
        make_clip(clip, CLIP)
        extraction = client.wait(client.upload(clip).extraction)
    (archive,) = objects.rglob("frames.zip")
    write_file(archive, size)
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    service.execute(
        # A trigger keeps extractions that have ended as they are.
        "ALTER TABLE extractions DISABLE TRIGGER USER;"
        f"UPDATE extractions SET result_bytes = {size}, result_sha256 = '{digest}';"
        "ALTER TABLE extractions ENABLE TRIGGER USER"
    )
    return extraction.id


def _ignore(sent: int, total: int) -> None:
    """What is called for each block, as a client with a progress bar has it."""

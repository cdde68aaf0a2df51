"""Azurite, Microsoft's emulator of Azure's blob storage, for tests: where its program `azurite-blob` is on the PATH."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from tests.support.servers.reserved_ports import reserved_port

PROGRAM = shutil.which("azurite-blob")
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that every Azurite has, and its public key."""
VERSION = "2021-12-02"
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class AzureServer:
    """address: the URL of the account."""

    address: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program needs, beside the URL of a container, to use the server."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY,
            "AZURE_STORAGE_ENDPOINT": self.address,
            "AZURE_ALLOW_HTTP": "true",
        }

    def new_bucket(self) -> str:
        """The URL of an empty container."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION}
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{self._signature(name, headers)}"
        created = httpx.put(f"{self.address}/{name}?restype=container", headers=headers)
        assert created.status_code == 201, created.text
        return f"az://{name}"

    def _signature(self, container: str, headers: Mapping[str, str]) -> str:
        """The signature that makes a container ("Authorize with Shared Key" in the reference of Azure Storage)."""
        # The method, eleven headers that are empty here, the headers of Azure, the resource, the query. The account is
        # in the path twice: Azurite has it there, and the resource begins with it.
        lines = ["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in sorted(headers.items()))]
        lines += [f"/{ACCOUNT}/{ACCOUNT}/{container}", "restype:container"]
        digest = hmac.digest(base64.b64decode(ACCOUNT_KEY), "\n".join(lines).encode(), hashlib.sha256)
        return base64.b64encode(digest).decode()


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    """The server of the whole run."""
    assert PROGRAM is not None
    folder, port = tmp_path_factory.mktemp("azurite"), reserved_port()
    command = [PROGRAM, "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        _wait_until_listening(server, port, folder / "log")
        yield AzureServer(f"http://127.0.0.1:{port}/{ACCOUNT}")
    finally:
        server.kill()
        server.wait()


def _wait_until_listening(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{port}/")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"Azurite did not start: {log.read_text(errors='replace')}")

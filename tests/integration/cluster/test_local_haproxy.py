"""HAProxy in front of the API's replicas: what clients get while replicas start, end and die; which ports are open."""

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
from cluster.local.servers.haproxy_config import MAX_REQUESTS_PER_REPLICA
from cluster.local.startup_error import ExitCode, StartupError
from cluster.local.supervision.fallback_server import SERVER, FallbackServer
from cluster.local.supervision.readiness_probe import ReadinessProbe
from serve_app.http.server.replica_sockets import bound_socket, socket_paths
from serve_app.openapi.response_schemas import Problem
from tests.support.own_process import command_of
from tests.support.programs import listening_replica
from tests.support.servers.listening_sockets import listening_sockets
from tests.support.servers.reserved_ports import reserved_port

MAX_BUFFERED_BYTES = 16 << 20
DEADLINE_SECONDS = 60.0
"""Longer than a busy machine needs for anything."""


class Ingress:
    """HAProxy on a free port, the folder of its sockets, and replicas in their own processes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, reserved_port()
        self.fallback = FallbackServer(folder / "fallback.sock", lambda: {"api": "restarting"})
        self.haproxy = HAProxy(self.port, folder, self.fallback.path, folder / "haproxy.log", replicas=lambda: 1)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, verify=False)

    @contextmanager
    def replica(self) -> Iterator[subprocess.Popen[str]]:
        """Starts a replica, and waits until HAProxy sends it requests."""
        command = command_of(listening_replica, self.folder)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "listens\n"
            self.wait_until_answered_by(process.pid)
            yield process
            process.kill()

    def wait_until_answered_by(self, pid: int) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (answer := self.http.get("/who")).status_code != 200 or answer.json()["pid"] != pid:
            assert (answer.status_code, "retry-after" in answer.headers) in ((200, False), (503, True)), answer.text
            assert time.monotonic() < deadline

    def kill(self) -> None:
        """Kills HAProxy, and waits until the supervisor would notice: its connections close a little earlier."""
        assert self.haproxy.pid is not None
        os.kill(self.haproxy.pid, signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.haproxy.is_running():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def wait_until_request_has_started(self) -> None:
        """Waits until a replica has started a request that takes longer."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (self.folder / "asked").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def count_sendable_bytes(client: socket.socket) -> int:
    """How many bytes can be sent before the other end stops reading."""
    sent = 0
    with suppress(TimeoutError):
        while sent < 4 * MAX_BUFFERED_BYTES:
            sent += client.send(bytes(1 << 20))
    return sent


@pytest.fixture
def ingress(tmp_path: Path) -> Iterator[Ingress]:
    ingress = Ingress(tmp_path)
    with ExitStack() as stack:
        stack.callback(ingress.fallback.close)
        stack.callback(ingress.haproxy.stop)
        stack.enter_context(ingress.http)
        ingress.fallback.open()
        ingress.haproxy.start()
        yield ingress


def test_haproxy_listens_on_the_service_port_of_the_loopback_interface_only(ingress: Ingress) -> None:
    assert ingress.haproxy.pid is not None
    assert {(listening.host, listening.port) for listening in listening_sockets(ingress.haproxy.pid)} == {
        ("127.0.0.1", ingress.port)
    }


def test_fallback_server_answers_while_no_replica_listens(ingress: Ingress) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = ingress.http.request(method, "/who")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert answer.headers["server"].strip() == SERVER
    assert ReadinessProbe(ingress.port).parts() is None, "the answer of the fallback server counts as the API's"


def test_haproxy_answers_503_when_the_supervisor_has_ended_as_well(ingress: Ingress) -> None:
    ingress.fallback.close()
    answer = ingress.http.post("/who")
    problem = Problem.model_validate_json(answer.content)
    assert (answer.status_code, answer.headers["retry-after"], problem.code) == (503, "2", "unavailable")
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(problem.request_id) == 36


def test_replica_gets_the_address_of_the_client(ingress: Ingress) -> None:
    with ingress.replica():
        assert ingress.http.get("/who").json()["client"] == "127.0.0.1"
        assert ingress.http.get("/who", headers={"X-Forwarded-For": "192.0.2.7"}).json()["client"] == "192.0.2.7"
        assert ReadinessProbe(ingress.port).parts() == {"database": "ok"}


def test_post_after_the_death_of_a_replica_gets_503(ingress: Ingress) -> None:
    for _ in range(3):
        with ingress.replica() as replica:
            replica.kill()
            replica.wait()
            assert ingress.http.post("/who").status_code == 503


def test_death_of_a_replica_closes_the_connection_of_a_post_and_repeats_a_get(ingress: Ingress) -> None:
    for method, path in (("POST", "/never"), ("GET", "/never")):
        with (
            ingress.replica() as replica,
            socket.create_connection(("127.0.0.1", ingress.port), timeout=DEADLINE_SECONDS) as client,
        ):
            client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            ingress.wait_until_request_has_started()
            replica.kill()
            answer = client.recv(1 << 16)
            if method == "POST":
                assert answer == b"", "a request that may have been carried out was answered"
            else:
                assert answer.startswith(b"HTTP/1.1 503 "), answer
        (ingress.folder / "asked").unlink()


def test_ending_replica_finishes_its_requests_while_its_successor_gets_the_new_ones(ingress: Ingress) -> None:
    with ingress.replica() as old, httpx.Client() as other, ThreadPoolExecutor() as threads:
        response = threads.submit(other.get, f"http://127.0.0.1:{ingress.port}/short", timeout=DEADLINE_SECONDS)
        ingress.wait_until_request_has_started()
        # The replica closes its listening socket; its request still needs a second.
        assert old.stdin is not None
        old.stdin.close()
        with ingress.replica() as new:
            assert old.pid != new.pid
            assert response.result().text == "done"


def test_unread_body_is_not_buffered_without_bound(ingress: Ingress) -> None:
    with ingress.replica() as replica, socket.create_connection(("127.0.0.1", ingress.port)) as client:
        client.sendall(b"POST /never HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        ingress.wait_until_request_has_started()
        client.settimeout(1.0)
        assert count_sendable_bytes(client) < MAX_BUFFERED_BYTES
        assert replica.poll() is None


def test_open_streams_of_events_do_not_keep_other_requests_waiting(ingress: Ingress) -> None:
    with ingress.replica(), ExitStack() as streams:
        for _ in range(MAX_REQUESTS_PER_REPLICA + 5):
            client = streams.enter_context(socket.create_connection(("127.0.0.1", ingress.port)))
            client.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        ingress.wait_until_request_has_started()
        assert ingress.http.get("/who", timeout=DEADLINE_SECONDS).status_code == 200


def test_stream_of_events_without_a_replica_is_answered_by_the_fallback_server(ingress: Ingress) -> None:
    assert ingress.http.get("/who").status_code == 503
    answer = ingress.http.get("/v1/events")
    assert (answer.status_code, answer.headers["server"].strip()) == (503, SERVER)


def test_header_of_60_kb_reaches_the_replica(ingress: Ingress) -> None:
    with ingress.replica():
        assert ingress.http.get("/who", headers={"Upload-Metadata": "spec " + "A" * 60_000}).status_code == 200


def test_haproxy_that_was_killed_starts_again_on_the_same_port(ingress: Ingress) -> None:
    with ingress.replica() as replica:
        ingress.kill()
        assert "killed by SIGKILL" in ingress.haproxy.ending
        ingress.haproxy.start()
        ingress.wait_until_answered_by(replica.pid)


def test_port_of_another_program_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = int(other.getsockname()[1])
        haproxy = HAProxy(port, tmp_path, tmp_path / "none.sock", tmp_path / "log", replicas=lambda: 1)
        with pytest.raises(StartupError) as refused:
            haproxy.start()
    assert refused.value.code is ExitCode.PORT_TAKEN


def test_socket_belongs_to_one_replica_at_a_time(tmp_path: Path) -> None:
    paths = socket_paths(tmp_path, 1)
    with bound_socket(paths) as first, bound_socket(paths) as second:
        assert {first.getsockname(), second.getsockname()} == {str(path) for path in paths}
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths)
        with pytest.raises(OSError, match="all 2 sockets"), bound_socket(paths):
            pass
    with bound_socket(paths) as again:
        assert again.getsockname() == str(paths[0])

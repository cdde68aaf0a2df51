"""While Ray is away, `fotograma up` answers in the place of the API."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from cluster.local.startup_error import ExitCode, StartupError
from cluster.local.supervision.readiness_probe import ReadinessProbe
from cluster.local.supervision.standby_server import StandbyServer, listeners
from serve_app.openapi.response_schemas import Problem
from tests.support.running_service import free_port

PARTS = {"api": "restarting", "database": "ok"}


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def standby(port: int) -> Iterator[StandbyServer]:
    server = StandbyServer(port, lambda: PARTS)
    yield server
    server.close()


class Successor(http.server.ThreadingHTTPServer):
    """Listens on the port as Serve's proxy does."""

    allow_reuse_port = True


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_every_request_gets_503_with_retry_after_and_the_reason(standby: StandbyServer, port: int, method: str) -> None:
    standby.open()

    answer = httpx.request(method, f"http://127.0.0.1:{port}/readyz")

    told = Problem.model_validate_json(answer.content)
    assert (answer.status_code, told.status, told.code, told.fault) == (503, 503, "unavailable", "service")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["x-request-id"] == told.request_id
    assert told.parts == PARTS
    assert "api (restarting)" in told.detail
    assert ReadinessProbe(port).parts() == PARTS


def test_a_head_request_has_no_body(standby: StandbyServer, port: int) -> None:
    standby.open()
    answer = httpx.head(f"http://127.0.0.1:{port}/")
    assert (answer.status_code, answer.content) == (503, b"")


def test_standby_server_hands_the_port_to_the_proxy(standby: StandbyServer, port: int) -> None:
    standby.open()
    assert not standby.another_listens()

    with Successor(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler) as successor:
        assert standby.another_listens()
        standby.close()
        assert listeners(port) == 1
        thread = threading.Thread(target=successor.serve_forever)
        thread.start()
        assert httpx.get(f"http://127.0.0.1:{port}/nothing").status_code == 404
        successor.shutdown()
        thread.join()


def test_port_of_another_program_is_refused(standby: StandbyServer, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)), pytest.raises(StartupError) as refused:
        standby.open()
    assert refused.value.code is ExitCode.PORT_TAKEN

    standby.open()
    assert listeners(port) == 1


def test_standby_server_can_be_opened_repeatedly(standby: StandbyServer, port: int) -> None:
    for _ in range(3):
        standby.open()
        standby.open()
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 503
        standby.close()
        assert listeners(port) == 0

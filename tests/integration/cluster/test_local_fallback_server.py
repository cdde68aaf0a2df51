"""While Ray does not run, `fotograma up` answers in place of the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cluster.local.supervision.fallback_server import SERVER, FallbackServer
from serve_app.openapi.response_schemas import Problem

PARTS = {"api": "restarting", "database": "ok"}


@pytest.fixture
def fallback(tmp_path: Path) -> Iterator[FallbackServer]:
    server = FallbackServer(tmp_path / "fallback.sock", lambda: PARTS)
    server.open()
    yield server
    server.close()


def send_request(fallback: FallbackServer, method: str) -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(fallback.path))) as client:
        return client.request(method, "http://fotograma.test/readyz")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_every_request_gets_503_with_retry_after_and_the_reason(fallback: FallbackServer, method: str) -> None:
    answer = send_request(fallback, method)

    problem = Problem.model_validate_json(answer.content)
    assert (answer.status_code, problem.status, problem.code, problem.fault) == (503, 503, "unavailable", "service")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["x-request-id"] == problem.request_id
    assert answer.headers["server"].strip() == SERVER
    assert problem.parts == PARTS
    assert "api (restarting)" in problem.detail


def test_response_to_a_head_request_has_no_body(fallback: FallbackServer) -> None:
    answer = send_request(fallback, "HEAD")
    assert (answer.status_code, answer.content) == (503, b"")


def test_api_is_away_even_when_its_processes_run(tmp_path: Path) -> None:
    fallback = FallbackServer(tmp_path / "fallback.sock", lambda: {"api": "ok", "database": "ok"})
    fallback.open()
    problem = Problem.model_validate_json(send_request(fallback, "GET").content)
    fallback.close()
    assert problem.parts == {"api": "away", "database": "ok"}
    assert problem.detail == "Nothing can be accepted now: api (away)."

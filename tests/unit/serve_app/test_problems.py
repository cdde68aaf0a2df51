"""Errors as problem documents."""

from __future__ import annotations

import json

import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError
from starlette.exceptions import HTTPException

from db.object_store.object_store import ObjectNotFound
from db.values.error_catalogue import CATALOGUE, CatalogueError
from serve_app.http import problem_details
from serve_app.http.problem_details import (
    EXTRACTION_ONLY_CODES,
    HTTP_STATUS,
    RETRY_SECONDS,
    ProblemError,
    error_response,
    problem_response,
)


def test_every_catalogue_code_has_a_status_or_belongs_to_an_extraction() -> None:
    assert set(HTTP_STATUS) | EXTRACTION_ONLY_CODES == set(CATALOGUE)
    assert not set(HTTP_STATUS) & EXTRACTION_ONLY_CODES


@pytest.mark.parametrize("code", sorted(HTTP_STATUS))
def test_problem_has_every_documented_member(code: str) -> None:
    answer = problem_response(CatalogueError(code, "What happened."), "r1")
    body = json.loads(bytes(answer.body))
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == body["status"] == HTTP_STATUS[code]
    assert body["code"] == code
    assert body["detail"] == "What happened."
    assert body["request_id"] == "r1"
    assert body["fault"] in {"request", "file", "service"}
    assert body["type"].endswith(code)
    assert body["title"]
    assert body["remedy"]


@pytest.mark.parametrize("code", sorted(code for code, status in HTTP_STATUS.items() if status in {413, 429, 503, 507}))
def test_exceeded_limit_has_retry_after(code: str) -> None:
    assert problem_response(CatalogueError(code), "r").headers["retry-after"] == str(RETRY_SECONDS[HTTP_STATUS[code]])
    assert problem_response(CatalogueError(code, retry_after=7), "r").headers["retry-after"] == "7"


def test_permanent_refusal_has_no_retry_after() -> None:
    for code in ("malformed_request", "not_found", "not_a_video", "internal"):
        assert "retry-after" not in problem_response(CatalogueError(code), "r").headers


def test_unexpected_error_is_internal_without_details() -> None:
    answer = error_response(ZeroDivisionError("secret"), "r2")
    assert answer.status_code == 500
    assert json.loads(bytes(answer.body))["code"] == "internal"
    assert b"secret" not in answer.body


def test_database_outage_is_unavailable_with_retry_after() -> None:
    answer = error_response(OperationalError("SELECT 1", {}, OSError("refused")), "r3")
    assert answer.status_code == 503
    assert json.loads(bytes(answer.body))["code"] == "unavailable"
    assert int(answer.headers["retry-after"]) > 0


def test_invalid_statement_is_not_an_outage() -> None:
    assert problem_details.to_catalogue_error(ProgrammingError("SELEC", {}, ValueError())).code == "internal"


def test_missing_result_object_is_result_expired() -> None:
    assert error_response(ObjectNotFound("results/x"), "r4").status_code == 410


def test_router_errors_are_problems_and_keep_their_headers() -> None:
    answer = error_response(HTTPException(405, headers={"Allow": "GET, HEAD"}), "r5")
    assert json.loads(bytes(answer.body))["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "GET, HEAD"


def test_missing_token_answers_with_the_authentication_scheme() -> None:
    challenge = problem_response(CatalogueError("unauthenticated"), "r6").headers["www-authenticate"]
    assert challenge == 'Bearer realm="fotograma"'


@pytest.mark.parametrize(
    ("code", "error"), [("token_expired", "invalid_token"), ("session_required", "insufficient_scope")]
)
def test_token_that_is_not_enough_is_named_as_the_protocol_says(code: str, error: str) -> None:
    challenge = problem_response(CatalogueError(code), "r6").headers["www-authenticate"]
    assert challenge.startswith(f'Bearer realm="fotograma", error="{error}", error_description="')
    assert challenge.count('"') == 6


def test_every_problem_with_status_401_has_the_authentication_scheme() -> None:
    for code in (code for code, status in HTTP_STATUS.items() if status == 401):
        assert problem_response(CatalogueError(code), "r6").headers["www-authenticate"].startswith("Bearer ")


def test_problem_error_adds_members_and_headers() -> None:
    answer = problem_response(
        ProblemError("bad_range", headers={"Content-Range": "bytes */5"}, extensions={"errors": [1]}), "r7"
    )
    assert answer.headers["content-range"] == "bytes */5"
    assert json.loads(bytes(answer.body))["errors"] == [1]

"""When a request is sent again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from cluster.client import httpx_adapter
from cluster.client.effects import ConnectionLost, Reply, Request
from cluster.client.retry_policy import Attempt, RetryPolicy, retry_after_seconds, wait_seconds

POLICY = RetryPolicy(attempts=4, first_seconds=1, max_seconds=3, retry_after_seconds=60, in_progress_seconds=90)


def reply(status: int, **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps({}).encode())


def wait_before_retry(
    outcome: Reply | ConnectionLost,
    *,
    tries: int = 1,
    repeatable: bool = True,
    code: str = "",
    elapsed: float = 0,
    in_progress: float = 0,
) -> float | None:
    return wait_seconds(POLICY, Attempt(tries, elapsed, repeatable, in_progress), outcome, code, 0.5)


@pytest.mark.parametrize("status", [429, 502, 503, 504, 507])
def test_request_with_a_transient_answer_is_repeated(status: int) -> None:
    assert wait_before_retry(reply(status)) == 0.5


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 404, 409, 413, 422, 500])
def test_request_with_any_other_answer_is_not_repeated(status: int) -> None:
    assert wait_before_retry(reply(status)) is None


def test_unrepeatable_request_is_repeated_only_when_it_was_not_sent() -> None:
    assert wait_before_retry(reply(503), repeatable=False) is None
    assert wait_before_retry(ConnectionLost("reset", unsent=False), repeatable=False) is None
    assert wait_before_retry(ConnectionLost("refused", unsent=True), repeatable=False) == 0.5


def test_any_request_that_the_rate_limit_refused_is_repeated() -> None:
    assert wait_before_retry(reply(429, retry_after="7"), repeatable=False, code="too_many_requests") == 7.5
    assert wait_before_retry(reply(429), repeatable=False, code="http_429") == 0.5
    assert wait_before_retry(reply(429), repeatable=False, code="quota_exceeded") is None
    assert wait_before_retry(reply(429), repeatable=False, code="too_many_requests", tries=4) is None


def test_wait_is_random_between_zero_and_a_bound_that_doubles() -> None:
    bounds = [wait_seconds(RetryPolicy(9, 1, 3), Attempt(tries, 0, True), reply(503), "", 1.0) for tries in range(1, 5)]
    assert bounds == [1, 2, 3, 3]
    assert wait_seconds(POLICY, Attempt(1, 0, True), reply(503), "", 0.0) == 0


def test_attempts_are_bounded() -> None:
    assert wait_before_retry(ConnectionLost("reset", unsent=False), tries=3) is not None
    assert wait_before_retry(ConnectionLost("reset", unsent=False), tries=4) is None


def test_retry_after_is_respected_up_to_a_bound() -> None:
    assert wait_before_retry(reply(429, retry_after="7")) == 7.5
    assert wait_before_retry(reply(503, retry_after="61")) is None


def test_wait_for_the_first_call_with_a_key_is_not_bounded_by_attempts() -> None:
    assert wait_before_retry(reply(409), code="idempotency_in_progress", tries=40, in_progress=89) is not None
    assert wait_before_retry(reply(409), code="idempotency_in_progress", tries=2, in_progress=90) is None
    assert wait_before_retry(reply(409), code="not_ready") is None


def test_wait_for_the_first_call_does_not_include_the_time_before_it_was_seen() -> None:
    assert wait_before_retry(reply(409), code="idempotency_in_progress", elapsed=10_000, in_progress=0) is not None


def test_request_over_a_quota_is_not_repeated() -> None:
    assert wait_before_retry(reply(429), code="quota_exceeded") is None
    assert wait_before_retry(reply(429), code="minutes_exceeded") is None
    assert wait_before_retry(reply(429), code="too_many_waiting") is not None


def test_error_that_is_not_the_services_own_is_retried_for_a_minute() -> None:
    assert wait_before_retry(reply(404), code="http_404") is not None
    assert wait_before_retry(reply(500), code="http_500", elapsed=59) is not None
    assert wait_before_retry(reply(404), code="http_404", elapsed=60) is None
    assert wait_before_retry(reply(404), code="not_found") is None


def test_patience_bounds_unlimited_attempts() -> None:
    patient = RetryPolicy(attempts=None, patience_seconds=900)
    assert wait_seconds(patient, Attempt(500, 899, True), reply(503), "", 0.5) is not None
    assert wait_seconds(patient, Attempt(2, 900, True), reply(503), "", 0.5) is None


def test_retry_after_may_be_a_date_and_an_invalid_one_is_ignored() -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    assert retry_after_seconds({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": date}) == 30
    assert retry_after_seconds({"retry-after": "Wed, 21 Oct 2015 07:27:30 GMT", "date": date}) == 0
    assert retry_after_seconds({"retry-after": "soon"}) is None
    assert retry_after_seconds({"retry-after": "-1"}) is None
    assert retry_after_seconds({}) is None


def test_reply_without_a_date_gets_the_date_of_its_arrival() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    undated = httpx_adapter.reply(httpx.Response(503, headers={"Retry-After": soon}), b"")
    assert retry_after_seconds(undated.headers) == pytest.approx(40, abs=2)
    dated = httpx_adapter.reply(httpx.Response(503, headers={"Date": "Wed, 21 Oct 2015 07:28:00 GMT"}), b"")
    assert dated.headers["date"] == "Wed, 21 Oct 2015 07:28:00 GMT"


def test_method_and_idempotency_key_decide_whether_a_request_is_repeatable() -> None:
    assert all(Request(method, "/").repeatable for method in ("GET", "DELETE", "PUT"))
    assert not Request("POST", "/").repeatable
    assert Request("POST", "/", headers={"Idempotency-Key": "k"}).repeatable

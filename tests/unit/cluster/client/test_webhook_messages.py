"""Messages of webhooks are accepted only with a fresh signature of the right secret."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from cluster.client.webhook_messages import check_signature
from fotograma import BadSignature, InvalidArgument, verify_webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_AAAA9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = json.dumps({"type": "extraction.failed", "data": {"video": {"filename": "férias.mp4"}}}).encode()
NOW = 1_790_000_000


def signed(body: bytes = BODY, secret: str = SECRET, sent_at: int = NOW) -> dict[str, str]:
    """The headers as the service makes them."""
    signature = Webhook(secret).sign("d-1", datetime.fromtimestamp(sent_at, UTC), body.decode())
    return {"webhook-id": "d-1", "webhook-timestamp": str(sent_at), "webhook-signature": signature}


def check(headers: dict[str, str], body: bytes = BODY, now: float = NOW) -> None:
    check_signature(SECRET, headers, body, now=now, tolerance_seconds=300)


def test_message_of_the_service_is_returned() -> None:
    headers = signed(sent_at=int(time.time()))
    assert verify_webhook(SECRET, headers, BODY)["data"]["video"]["filename"] == "férias.mp4"


def test_headers_may_be_in_any_case_and_hold_several_signatures() -> None:
    headers = signed()
    headers["webhook-signature"] = f"v1a,xyz v1,AAAA {headers['webhook-signature']} junk"
    check({name.title(): value for name, value in headers.items()})


@pytest.mark.parametrize("change", ["body", "webhook-id", "webhook-timestamp", "webhook-signature", "secret"])
def test_any_change_makes_the_signature_wrong(change: str) -> None:
    headers, body = signed(secret=OTHER if change == "secret" else SECRET), BODY
    if change == "body":
        body += b" "
    elif change != "secret":
        headers[change] = {"webhook-timestamp": str(NOW + 1)}.get(change, "v1,d-2")
    with pytest.raises(BadSignature, match="not signed with this secret") as refused:
        check(headers, body)
    assert refused.value.code == "bad_signature"


@pytest.mark.parametrize(("seconds", "fresh"), [(300, True), (-300, True), (301, False), (-301, False)])
def test_message_is_refused_when_it_is_too_old_or_from_the_future(seconds: int, fresh: bool) -> None:
    if fresh:
        check(signed(), now=NOW + seconds)
        return
    with pytest.raises(BadSignature, match="301 s away"):
        check(signed(), now=NOW + seconds)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_missing_header_is_named(name: str) -> None:
    headers = signed()
    del headers[name]
    with pytest.raises(BadSignature, match=name):
        check(headers)


@pytest.mark.parametrize("sent_at", ["", "now", "-1", "1.5", "９", "9" * 13])
def test_timestamp_that_is_no_number_is_refused(sent_at: str) -> None:
    with pytest.raises(BadSignature, match="no number of seconds"):
        check(signed() | {"webhook-timestamp": sent_at})


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_ü", "whsec_*"])
def test_secret_that_cannot_be_one_is_an_error_of_the_caller(secret: str) -> None:
    with pytest.raises(InvalidArgument, match="secret"):
        verify_webhook(secret, signed(), BODY)


def test_parsed_body_is_an_error_of_the_caller() -> None:
    body: Any = json.loads(BODY)
    with pytest.raises(InvalidArgument, match="bytes"):
        verify_webhook(SECRET, signed(), body)


@pytest.mark.parametrize("body", [b"[]", b"not json"])
def test_signed_message_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadSignature, match="not"):
        verify_webhook(SECRET, signed(body, sent_at=int(time.time())), body)


@given(st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()))
def test_arbitrary_headers_are_refused_with_a_reason(headers: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        check(headers)

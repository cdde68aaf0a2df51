"""Which If-Match and If-None-Match headers match an ETag."""

from __future__ import annotations

import pytest

from serve_app.http.conditional_requests import etag_of, is_match, is_match_of_state, is_not_modified, state_of

ETAG = '"abc"'


def test_matching_etag_is_recognized() -> None:
    assert is_not_modified(ETAG, ETAG)
    assert is_not_modified('"x", W/"abc"', ETAG)
    assert is_not_modified("*", ETAG)
    assert not is_not_modified('"x"', ETAG)
    assert not is_not_modified(None, ETAG)


@pytest.mark.parametrize("header", [None, "*", ETAG, f'"x", {ETAG}', f' {ETAG} ,"y"'])
def test_request_is_carried_out_when_one_tag_matches(header: str | None) -> None:
    assert is_match(header, ETAG)


@pytest.mark.parametrize("header", ["", '"x"', f"W/{ETAG}", "abc"])
def test_request_is_not_carried_out_for_another_or_a_weak_tag(header: str) -> None:
    assert not is_match(header, ETAG)


def test_etag_of_a_document_tells_its_state_and_differs_with_its_content() -> None:
    assert etag_of("abc.1", b"one") == etag_of("abc.1", b"one") != etag_of("abc.1", b"two")
    assert state_of(etag_of("abc.1", b"one")) == "abc.1"
    assert state_of("W/" + etag_of("abc.1", b"one")) is None


@pytest.mark.parametrize("header", [None, "*", etag_of("abc", b"now"), f'"x", {etag_of("abc", b"before")}'])
def test_change_is_carried_out_from_the_same_state_with_any_content(header: str | None) -> None:
    assert is_match_of_state(header, "abc")


@pytest.mark.parametrize("header", ["", '"x-1"', "abc-1", f"W/{etag_of('abc', b'now')}", '"-"'])
def test_change_is_not_carried_out_from_another_state(header: str) -> None:
    assert not is_match_of_state(header, "abc")

"""The bytes that a Range header selects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.http.byte_ranges import ByteRange, RangeNotSatisfiable, parse_range

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=2-5", ByteRange(2, 4)),
        ("bytes=2-", ByteRange(2, 8)),
        ("bytes=2-99", ByteRange(2, 8)),
        ("bytes=-3", ByteRange(7, 3)),
        ("bytes=-99", ByteRange(0, 10)),
        ("Bytes = 1 - 2", ByteRange(1, 2)),
    ],
)
def test_single_range_gives_its_span(header: str, span: ByteRange) -> None:
    assert parse_range(header, None, ETAG, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_range_outside_the_content_is_unsatisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, None, ETAG, 10)


@pytest.mark.parametrize(
    "header", [None, "", "items=0-1", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "bytes=0-1,3-4", "bytes=1-2x"]
)
def test_other_range_headers_give_the_whole_content(header: str | None) -> None:
    assert parse_range(header, None, ETAG, 10) is None


def test_if_range_applies_only_to_the_same_content() -> None:
    assert parse_range("bytes=1-2", ETAG, ETAG, 10) == ByteRange(1, 2)
    assert parse_range("bytes=1-2", '"other"', ETAG, 10) is None
    assert parse_range("bytes=1-2", "W/" + ETAG, ETAG, 10) is None
    assert parse_range("bytes=1-2", "Tue, 24 Nov 2026 07:00:00 GMT", ETAG, 10) is None


@given(first=st.integers(0, 200), last=st.none() | st.integers(0, 200), size=st.integers(0, 100))
def test_span_is_always_within_the_content(first: int, last: int | None, size: int) -> None:
    try:
        span = parse_range(f"bytes={first}-{'' if last is None else last}", None, ETAG, size)
    except RangeNotSatisfiable:
        assert first >= size
        return
    if span is not None:
        assert span.length > 0
        assert span.start >= 0
        assert span.start + span.length <= size

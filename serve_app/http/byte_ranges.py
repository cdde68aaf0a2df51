"""The headers Range and If-Range (RFC 9110). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SINGLE_RANGE = re.compile(r"bytes\s*=\s*(?:(\d{1,18})\s*-\s*(\d{1,18})?|-\s*(\d{1,18}))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes (at least one) from byte `start` on."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


class RangeNotSatisfiable(Exception):
    """The range lies outside the content."""


def parse_range(range_header: str | None, if_range: str | None, etag: str, size: int) -> ByteRange | None:
    """The range to send, or None for the whole content.

    Several ranges, other units and malformed headers are ignored, as RFC 9110 allows. A range is also ignored when its
    If-Range does not match the ETag; a date never matches. Raises RangeNotSatisfiable.
    """
    if range_header is None or (if_range is not None and if_range.strip() != etag):
        return None
    match = _SINGLE_RANGE.fullmatch(range_header.strip())
    if match is None:
        return None
    first, last, suffix = (None if group is None else int(group) for group in match.groups())
    if suffix is not None:
        return _byte_range(max(0, size - suffix), size if suffix else 0, size)
    assert first is not None
    if last is not None and last < first:
        return None
    return _byte_range(first, size if last is None else min(size, last + 1), size)


def _byte_range(start: int, end: int, size: int) -> ByteRange:
    if start >= end or start >= size:
        raise RangeNotSatisfiable
    return ByteRange(start, end - start)

"""HTTP ranges and conditions (RFC 9110), pure: which bytes of how many, and whether at all."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SINGLE = re.compile(r"bytes\s*=\s*(?:(\d{1,18})\s*-\s*(\d{1,18})?|-\s*(\d{1,18}))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes from byte `start` on; length > 0."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


class RangeNotSatisfiable(Exception):
    """The range lies outside the content."""


def parse_range(range_header: str | None, if_range: str | None, etag: str, size: int) -> ByteRange | None:
    """The one span to send, or None for the whole.

    Several ranges, other units and what can't be read are ignored, as a server may; so is a range whose If-Range
    does not name this content (a date never does: strong comparison only). Raises RangeNotSatisfiable.
    """
    if range_header is None or (if_range is not None and if_range.strip() != etag):
        return None
    found = _SINGLE.fullmatch(range_header.strip())
    if found is None:
        return None
    first, last, suffix = (None if group is None else int(group) for group in found.groups())
    if suffix is not None:
        return _byte_range(max(0, size - suffix), size if suffix else 0, size)
    assert first is not None
    if last is not None and last < first:
        return None
    return _byte_range(first, size if last is None else min(size, last + 1), size)


def is_not_modified(if_none_match: str | None, etag: str) -> bool:
    """Whether the client holds this content already (weak comparison)."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def _byte_range(start: int, end: int, size: int) -> ByteRange:
    if start >= end or start >= size:
        raise RangeNotSatisfiable
    return ByteRange(start, end - start)

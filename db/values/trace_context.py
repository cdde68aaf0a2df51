"""The trace context of the W3C: which trace and which span work belongs to. Pure.

Source: https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_MAX_CHARACTERS = 256
_INVALID_VERSION = "ff"
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span of one trace. trace_id, span_id: 32 and 16 lower-case hex digits, not all 0. is_sampled: whether the
    span is recorded.
    """

    trace_id: str
    span_id: str
    is_sampled: bool

    @classmethod
    def from_bytes(cls, random: bytes) -> Self:
        """The root of a new trace that nobody records. random: 24 bytes."""
        return cls(random[:16].hex(), random[16:24].hex(), False)

    @property
    def traceparent(self) -> str:
        """The header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{_SAMPLED if self.is_sampled else 0:02x}"


def parse_traceparent(value: str | None) -> TraceContext | None:
    """Returns what the header says; None without the header, and for a value that the standard forbids."""
    match = _TRACEPARENT.fullmatch(value) if value is not None and len(value) <= _MAX_CHARACTERS else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    is_of_version = version != _INVALID_VERSION and (version != "00" or more is None)
    if not is_of_version or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))

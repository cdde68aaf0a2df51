"""The W3C trace context: valid headers are read and written unchanged; what the standard forbids is no context."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.values.trace_context import TraceContext, parse_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("value", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"])
def test_valid_header_is_read_and_written_unchanged(value: str) -> None:
    context = parse_traceparent(value)
    assert context is not None
    assert context.traceparent == value


def test_unknown_flags_and_later_versions_are_read_as_far_as_they_are_known() -> None:
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-ff") == TraceContext(TRACE, SPAN, True)
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-02") == TraceContext(TRACE, SPAN, False)
    assert parse_traceparent(f"42-{TRACE}-{SPAN}-01-more") == TraceContext(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01".replace("4", "４"),
        f"42-{TRACE}-{SPAN}-01-" + "x" * 10_000,
        "00-'; DROP TABLE tasks; --",
    ],
)
def test_what_the_standard_forbids_is_no_context(value: str | None) -> None:
    assert parse_traceparent(value) is None


@given(st.text())
def test_no_text_raises_or_is_stored_in_another_form(value: str) -> None:
    context = parse_traceparent(value)
    assert context is None or parse_traceparent(context.traceparent) == context


@given(st.binary(min_size=24, max_size=24).filter(lambda some: any(some[:16]) and any(some[16:])))
def test_new_trace_is_valid_and_not_recorded(random: bytes) -> None:
    context = TraceContext.from_bytes(random)
    assert parse_traceparent(context.traceparent) == context
    assert not context.is_sampled

"""Spans: what belongs to one request, from the request to the archive. `cluster.wiring.span_export` records them.

The span around the running code stands in a context variable, so asyncio tasks that it starts inherit it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from db.values.trace_context import TraceContext

Attributes = Mapping[str, str | int | float | bool | Sequence[str]]


class SpanKind(Enum):
    """As in OpenTelemetry."""

    INTERNAL = auto()
    SERVER = auto()
    CLIENT = auto()
    CONSUMER = auto()


class Span(Protocol):
    """A stretch of work that has begun."""

    @property
    def context(self) -> TraceContext: ...

    def rename(self, name: str) -> None: ...

    def set(self, attributes: Attributes) -> None: ...

    def fail(self, error_type: str) -> None:
        """Marks the work as failed. error_type: a code or the name of a class, never a text of an error: it could name
        a file or a person.
        """

    def end(self, at: float | None = None) -> None:
        """at: seconds since the epoch; None for the present time."""


class Tracer(Protocol):
    """Begins spans. No call waits for anything, and none raises."""

    def start(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: TraceContext | None = None,
        link: TraceContext | None = None,
        attributes: Attributes | None = None,
        at: float | None = None,
    ) -> Span:
        """parent: None begins a new trace. link: a span of another trace that this one has to do with."""


@dataclass(frozen=True, slots=True)
class UnrecordedSpan:
    """Only carries its context on."""

    context: TraceContext

    def rename(self, name: str) -> None: ...

    def set(self, attributes: Attributes) -> None: ...

    def fail(self, error_type: str) -> None: ...

    def end(self, at: float | None = None) -> None: ...


class NoTracer:
    """Records nothing. Every trace has its id all the same, for the logs."""

    def start(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: TraceContext | None = None,
        link: TraceContext | None = None,
        attributes: Attributes | None = None,
        at: float | None = None,
    ) -> Span:
        return UnrecordedSpan(parent or TraceContext.from_bytes(os.urandom(24)))


NO_TRACER = NoTracer()


@dataclass(frozen=True, slots=True)
class Origin:
    """What an accepted extraction keeps of its request, so that later work is found by it."""

    request_id: str | None = None
    traceparent: str | None = None


_span: ContextVar[Span | None] = ContextVar("span", default=None)
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


@contextmanager
def entered(span: Span, *, request_id: str | None = None) -> Iterator[Span]:
    """Makes this the span around the block, and ends it. request_id: None keeps the one around it."""
    tokens = _span.set(span), _request_id.set(request_id or _request_id.get())
    try:
        yield span
    except Exception as error:
        span.fail(type(error).__qualname__)
        raise
    finally:
        _span.reset(tokens[0])
        _request_id.reset(tokens[1])
        span.end()


@contextmanager
def child_span(tracer: Tracer, name: str, attributes: Attributes | None = None) -> Iterator[Span]:
    """A span of the block, within the span around it."""
    around = _span.get()
    parent = None if around is None else around.context
    with entered(tracer.start(name, parent=parent, attributes=attributes)) as span:
        yield span


def describe(attributes: Attributes) -> None:
    """Adds attributes to the span around the caller."""
    if (span := _span.get()) is not None:
        span.set(attributes)


def mark_failed(error_type: str) -> None:
    """Marks the span around the caller as failed, as `Span.fail`."""
    if (span := _span.get()) is not None:
        span.fail(error_type)


def current_origin() -> Origin:
    """The request that the caller works for."""
    span = _span.get()
    return Origin(_request_id.get(), None if span is None else span.context.traceparent)

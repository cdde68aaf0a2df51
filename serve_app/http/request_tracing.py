"""The span of a request, by OpenTelemetry's conventions for HTTP servers, and the ids in all its lines of the log.

The path stands in no span: it is the client's own text, and may hold names. The route is its pattern.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from starlette.datastructures import Headers
from starlette.types import Scope

from db.tracing_api import NO_TRACER, Span, SpanKind, Tracer, describe, entered
from db.values.trace_context import TraceContext, parse_traceparent
from serve_app.http.request_metrics import UNMATCHED, method_of, route_of

HEADER = "traceparent"
PROBES = frozenset({"/healthz", "/readyz"})
"""They are asked every few seconds: they are neither traced nor logged."""


@dataclass(frozen=True, slots=True)
class RequestTracing:
    """trusts_clients: whether a client's trace goes on here, and whether the client decides that it is recorded.
    Otherwise anybody could join foreign traces, or have everything recorded: a request begins a trace of its own, with
    a link to the client's.
    """

    tracer: Tracer = NO_TRACER
    trusts_clients: bool = False

    def start(self, scope: Scope, request_id: str) -> Span:
        if scope["path"] in PROBES:
            return NO_TRACER.start("")
        theirs = client_context(Headers(scope=scope))
        method = method_of(scope)
        return self.tracer.start(
            method,
            kind=SpanKind.SERVER,
            parent=theirs if self.trusts_clients else None,
            link=None if self.trusts_clients else theirs,
            attributes={
                "http.request.method": method if method != "other" else "_OTHER",
                "url.scheme": str(scope.get("scheme", "http")),
                "fotograma.request.id": request_id,
            },
        )


UNTRACED = RequestTracing()


@contextmanager
def entered_request(span: Span, request_id: str) -> Iterator[None]:
    """Carries out a request in its span, which ends with the block; its lines of the log have its ids."""
    around = structlog.contextvars.get_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id, trace_id=span.context.trace_id)
    try:
        with entered(span, request_id=request_id):
            yield
    finally:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**around)


def note_ids(**ids: str) -> None:
    """Says what the present request is about. ids: `video_id`, `extraction_id` … as in the log."""
    structlog.contextvars.bind_contextvars(**ids)
    describe({f"fotograma.{name.removesuffix('_id')}.id": value for name, value in ids.items()})


def client_context(headers: Headers) -> TraceContext | None:
    """What the client says about its trace; None when it says nothing, nothing valid, or two things."""
    values = headers.getlist(HEADER)
    return parse_traceparent(values[0]) if len(values) == 1 else None


def finish(span: Span, scope: Scope, status: int | None) -> None:
    """Names the span by its route and says how the request ended. status: None when no response began."""
    route = route_of(scope)
    if route != UNMATCHED:
        span.rename(f"{method_of(scope)} {route}")
        span.set({"http.route": route})
    if status is not None:
        span.set({"http.response.status_code": status})
    if status is None or status >= 500:
        span.fail("no_response" if status is None else str(status))

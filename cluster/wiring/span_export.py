"""Records spans by OpenTelemetry and sends them by OTLP over HTTP, when OpenTelemetry's own variables name a receiver.

Without one nothing of OpenTelemetry is imported. Spans wait in a queue of limited length for a thread that sends them:
what runs waits for none, and a receiver that is away costs spans, never requests or tasks.
"""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog

from db.tracing_api import NO_TRACER, Attributes, Span, SpanKind, Tracer
from db.values.trace_context import TraceContext

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
FLUSH_SECONDS = 3.0
"""How long the last spans may take at the end of a replica. Later ones are dropped."""

log = structlog.get_logger()


def is_enabled(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables name a receiver and do not switch traces off."""
    is_off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    is_off = is_off or environment.get("OTEL_TRACES_EXPORTER", "otlp").strip() not in {"otlp", ""}
    return not is_off and any(environment.get(name, "").strip() for name in ENDPOINTS)


@asynccontextmanager
async def open_tracer(part: str) -> AsyncIterator[Tracer]:
    """The tracer of a replica. part: of the service; the service's name is `fotograma-<part>`."""
    if not is_enabled(os.environ):
        yield NO_TRACER
        return
    try:
        processor, tracer = await asyncio.to_thread(_start, part)
    except Exception:
        # A wrong variable of OpenTelemetry must not keep the service from starting.
        log.exception("Spans can't be sent.", event_name="trace.failed")
        yield NO_TRACER
        return
    try:
        yield OpenTelemetryTracer(tracer)
    finally:
        # The processor itself would wait for 30 s.
        flush = threading.Thread(target=processor.shutdown, name="last-spans", daemon=True)
        flush.start()
        await asyncio.to_thread(flush.join, FLUSH_SECONDS)


def _start(part: str) -> tuple[BatchSpanProcessor, trace.Tracer]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    own = Resource(
        {
            "service.name": f"fotograma-{part}",
            "service.namespace": "fotograma",
            "service.version": version("fotograma"),
            "service.instance.id": str(uuid.uuid4()),
        }
    )
    # The operator's variables go before ours. The exporter and the queue read theirs themselves.
    provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    processor = BatchSpanProcessor(OTLPSpanExporter())
    provider.add_span_processor(processor)
    return processor, provider.get_tracer("fotograma", version("fotograma"))


class OpenTelemetryTracer:
    """Spans of OpenTelemetry. The sampler is OpenTelemetry's: OTEL_TRACES_SAMPLER."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

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
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.context import Context  # noqa: PLC0415

        # Ours alone: another library's span must not become the parent.
        context = Context()
        if parent is not None:
            context = trace.set_span_in_context(trace.NonRecordingSpan(_remote(parent)), context)
        return OpenTelemetrySpan(
            self._tracer.start_span(
                name,
                context,
                trace.SpanKind[kind.name],
                attributes=dict(attributes or {}),
                links=[] if link is None else [trace.Link(_remote(link))],
                start_time=None if at is None else _nanoseconds(at),
            )
        )


def _remote(context: TraceContext) -> trace.SpanContext:
    from opentelemetry import trace  # noqa: PLC0415

    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if context.is_sampled else trace.TraceFlags.DEFAULT)
    return trace.SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000) * 1000


@dataclass(frozen=True, slots=True)
class OpenTelemetrySpan:
    """A span that may have ended already: a request whose client went away is still carried out."""

    span: trace.Span

    @property
    def context(self) -> TraceContext:
        context = self.span.get_span_context()
        return TraceContext(f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags.sampled)

    def rename(self, name: str) -> None:
        if self.span.is_recording():
            self.span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        if self.span.is_recording():
            self.span.set_attributes(dict(attributes))

    def fail(self, error_type: str) -> None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415

        if self.span.is_recording():
            self.span.set_status(StatusCode.ERROR)
            self.span.set_attribute("error.type", error_type)

    def end(self, at: float | None = None) -> None:
        if self.span.is_recording():
            self.span.end(None if at is None else _nanoseconds(at))

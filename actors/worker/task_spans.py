"""The spans of a task: its wait in the queue, and its work with the phases that the child reports.

The child knows nothing of them: its environment is closed. A phase lasts from message to message.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from actors.extraction_types import DetectingScenes, Planned, Progress, ProgressEvent
from actors.worker.worker_deps import WorkerDeps
from db.queue.task_queue import Claim
from db.tracing_api import Span, SpanKind, child_span, entered
from db.values.trace_context import parse_traceparent


@contextmanager
def task_span(claim: Claim, deps: WorkerDeps) -> Iterator[Span]:
    """The span of a claimed task; the spans of its parts, and all lines of the log, belong to it."""
    lease, parent, now = claim.lease, parse_traceparent(claim.traceparent), time.time()
    ids = {"extraction_id": str(claim.extraction_id), "task_id": str(lease.task_id), "video_id": str(claim.video_id)}
    attributes: dict[str, str | int] = {
        **{f"fotograma.{name.replace('_', '.')}": value for name, value in ids.items()},
        "fotograma.task.kind": claim.kind,
        "fotograma.task.attempt": lease.attempt,
        "fotograma.worker": lease.worker,
    }
    if claim.request_id is not None:
        ids["request_id"] = claim.request_id
        attributes["fotograma.request.id"] = claim.request_id
    if claim.segment is not None:
        attributes["fotograma.segment.number"] = claim.segment.number
    span = deps.tracer.start(f"process {claim.kind}", kind=SpanKind.CONSUMER, parent=parent, attributes=attributes)
    if parent is not None:
        waited_from = now - claim.waited_seconds
        deps.tracer.start(f"wait {claim.kind}", parent=parent, attributes=attributes, at=waited_from).end(now)
    with (
        structlog.contextvars.bound_contextvars(
            trace_id=span.context.trace_id, worker=lease.worker, attempt=lease.attempt, **ids
        ),
        entered(span, request_id=claim.request_id),
    ):
        yield span


class DecodePhases:
    """The phases of the child's work, within the span around it: probe, scene detection, decoding, or assembling."""

    def __init__(self, claim: Claim, deps: WorkerDeps, span: Span) -> None:
        self._tracer, self._span, self._kind = deps.tracer, span, claim.kind
        self._phase = self._start("probe")

    def note(self, event: ProgressEvent) -> None:
        match event:
            case DetectingScenes():
                self._next("detect scenes")
            case Planned():
                self._next("assemble" if self._kind == "assemble" else "decode frames")
                self._phase.set({"fotograma.frames.total": event.frames_total})
            case Progress():
                pass

    def end(self) -> None:
        self._phase.end()

    def _next(self, name: str) -> None:
        self._phase.end()
        self._phase = self._start(name)

    def _start(self, name: str) -> Span:
        return self._tracer.start(name, parent=self._span.context)


@contextmanager
def decode_span(claim: Claim, deps: WorkerDeps) -> Iterator[DecodePhases]:
    """The span of the child's work on a job."""
    with child_span(deps.tracer, "decode") as span:
        phases = DecodePhases(claim, deps, span)
        try:
            yield phases
        finally:
            phases.end()

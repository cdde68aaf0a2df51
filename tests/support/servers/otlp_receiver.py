"""A receiver of spans by OTLP over HTTP, on a real port in this process."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from tests.support.servers.quiet_http_server import QuietHTTPServer


@dataclass(frozen=True)
class ReceivedSpan:
    """kind, status: names of the protocol. parent: "" without one. links: trace ids. times: in seconds."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    links: list[str]
    attributes: dict[str, str]
    status: str
    started_at: float
    ended_at: float


@dataclass
class OtlpReceiver:
    """status: of every response. answering: while it is not set, no request gets a response."""

    url: str = ""
    status: int = 200
    spans: list[ReceivedSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    answering: threading.Event = field(default_factory=threading.Event)

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReceivedSpan:
        (span,) = self.named(name)
        return span

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _attributes(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_received(service, span) for span in scope.spans]


def _received(service: str, span: SpanMessage) -> ReceivedSpan:
    return ReceivedSpan(
        service,
        span.name,
        SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        [link.trace_id.hex() for link in span.links],
        _attributes(span.attributes),
        str(MessageToDict(span.status).get("code", "STATUS_CODE_UNSET")).removeprefix("STATUS_CODE_"),
        span.start_time_unix_nano / 1e9,
        span.end_time_unix_nano / 1e9,
    )


def _attributes(attributes: list[KeyValue]) -> dict[str, str]:
    return {one.key: str(next(iter(MessageToDict(one.value).values()))) for one in attributes}


@contextmanager
def run_otlp_receiver() -> Iterator[OtlpReceiver]:
    receiver = OtlpReceiver()
    receiver.answering.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.arrived.set()
            receiver.answering.wait(30)
            if receiver.status == 200:
                is_packed = self.headers["Content-Encoding"] == "gzip"
                receiver.take(self.path, gzip.decompress(body) if is_packed else body)
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with QuietHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield receiver
        finally:
            receiver.answering.set()
            server.shutdown()
            serving.join()

"""One trace from the request to the archive and to the webhook, through the queue; and no cost when its receiver is
away.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from io import StringIO
from typing import Any
from uuid import UUID

import httpx
import pytest
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.notify.outbox_sender import OutboxSender
from actors.notify.ssrf_safe_http import WebhookHttpClient
from actors.notify.webhook_sender import WebhookSender
from actors.worker.task_spans import task_span
from actors.worker.worker_deps import WorkerDeps
from actors.worker.worker_loop import Worker
from cluster.wiring.json_log import JSON_LINES
from cluster.wiring.span_export import ENDPOINTS, is_enabled, open_tracer
from db.acceptance.requeue import requeue
from db.cache import Cache
from db.notification.webhook_url_policy import Reach
from db.tracing_api import NO_TRACER, Tracer
from db.values.lifecycle import Blame
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.http.request_tracing import RequestTracing
from tests.support.clients import api_client
from tests.support.servers.otlp_receiver import OtlpReceiver, ReceivedSpan, run_otlp_receiver
from tests.support.servers.webhook_receiver import run_webhook_receiver
from tests.support.state import database_rows
from tests.support.state.notification_setup import MAIL_FROM, create_webhook
from tests.support.state.queue_steps import claim_one, fail_task
from tests.support.videos.clips import ClipByName
from tests.support.wait_conditions import wait_until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def otlp(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    """A receiver to which the spans of this process go, however long they take on a busy machine."""
    monkeypatch.setattr("cluster.wiring.span_export.FLUSH_SECONDS", 30.0)
    with run_otlp_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver


@pytest.fixture
def json_log() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The lines that this process has logged as JSON so far."""
    written, configured = StringIO(), structlog.get_config()
    structlog.configure(processors=JSON_LINES, logger_factory=structlog.PrintLoggerFactory(written))
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    structlog.configure(**configured)


async def upload(
    deps: Deps, tracer: Tracer, content: bytes, *, trusts_clients: bool = False, headers: Any = None
) -> httpx.Response:
    """POST /v1/videos to an application whose requests have spans."""
    app = create_app(replace(deps, tracing=RequestTracing(tracer, trusts_clients)))
    async with api_client.open_client(app) as client:
        await api_client.log_in(client)
        return await api_client.upload_videos(client, ("Ana's holiday.mp4", content), headers=headers)


async def run_worker_until(worker_deps: WorkerDeps, extraction_id: UUID, status: str) -> None:
    worker = Worker(worker_deps, Cache(None), name="w1")
    worker_run = asyncio.create_task(worker.run())

    async def has_status() -> bool:
        row = await database_rows.fetch_extraction(worker_deps.database, extraction_id)
        return bool(row.status == status)

    await wait_until(has_status, 60)
    worker.stop()
    await asyncio.wait_for(worker_run, 60)


@pytest.fixture
async def poster() -> AsyncIterator[WebhookHttpClient]:
    client = WebhookHttpClient(Reach.LOOPBACK)
    yield client
    await client.close()


async def send_webhooks(database: AsyncEngine, poster: WebhookHttpClient, tracer: Tracer, url: str) -> None:
    sender = OutboxSender(
        database,
        None,
        mail_from=MAIL_FROM,
        public_url=url,
        webhooks=WebhookSender(database, poster),
        tracer=tracer,
    )
    await sender.run_once()
    await sender.close()


async def test_one_trace_from_the_request_to_the_archive_and_the_webhook(
    deps: Deps,
    worker_deps: WorkerDeps,
    clips: ClipByName,
    otlp: OtlpReceiver,
    poster: WebhookHttpClient,
    json_log: Callable[[], list[dict[str, Any]]],
) -> None:
    path, truth = clips("h264")
    async with AsyncExitStack() as stack, run_webhook_receiver() as webhooks:
        api, pool, maintenance = [
            await stack.enter_async_context(open_tracer(part)) for part in ("api", "worker", "maintenance")
        ]
        app = create_app(replace(deps, tracing=RequestTracing(api)))
        async with api_client.open_client(app) as client:
            await api_client.log_in(client)
            user_id = UUID((await client.get("/v1/me")).json()["id"])
            await create_webhook(deps.database, user_id, webhooks.url)
            answer = await api_client.upload_videos(
                client, ("Ana's holiday.mp4", path.read_bytes()), spec='{"sample": {"mode": "all"}}'
            )
        extraction_id = UUID(answer.json()["items"][0]["extraction"]["id"])
        # Every video is split: all kinds of tasks run.
        await run_worker_until(replace(worker_deps, segment_seconds=1e-6, tracer=pool), extraction_id, "succeeded")
        await send_webhooks(deps.database, poster, maintenance, webhooks.url)
    request = otlp.one("POST /v1/videos")
    assert (request.service, request.kind, request.parent) == ("fotograma-api", "SERVER", "")
    assert request.attributes["http.route"] == "/v1/videos"
    assert request.attributes["http.response.status_code"] == "201"
    assert request.attributes["fotograma.extraction.id"] == str(extraction_id)
    trace = [span for span in otlp.spans if span.trace_id == request.trace_id]
    assert {span.service for span in trace} == {"fotograma-api", "fotograma-worker", "fotograma-maintenance"}
    planning, assembling = otlp.one("process extract"), otlp.one("process assemble")
    segments = otlp.named("process segment")
    assert len(segments) >= 2
    assert planning.parent == request.span_id
    assert {span.parent for span in [assembling, *segments]} == {planning.span_id}
    assert {span.attributes["fotograma.task.outcome"] for span in [assembling, *segments]} == {"published"}
    assert planning.attributes["fotograma.request.id"] == answer.headers["x-request-id"]
    assert [names_of_children(trace, span) for span in (planning, assembling, segments[0])] == [
        [
            "decode",
            "process assemble",
            "process segment",
            "publish",
            "stage",
            "store",
            "wait assemble",
            "wait segment",
        ],
        ["decode", "publish", "stage", "store"],
        ["decode", "publish", "stage", "store"],
    ]
    assert names_of_children(trace, request) == ["notify email", "notify webhook", "process extract", "wait extract"]
    decodings = [span for span in trace if span.name == "decode" and span.parent == segments[0].span_id]
    assert names_of_children(trace, decodings[0]) == ["decode frames", "probe"]
    assert sum(int(span.attributes.get("fotograma.frames.total", 0)) for span in otlp.named("decode frames")) == len(
        truth.shown
    )
    waited = otlp.one("wait extract")
    assert request.started_at <= waited.started_at <= waited.ended_at
    notified = otlp.one("notify webhook")
    assert [headers["traceparent"] for headers, _ in webhooks.received] == [
        f"00-{request.trace_id}-{notified.span_id}-01"
    ]
    assert notified.attributes["http.response.status_code"] == "204"
    assert_private(otlp)
    video_id = answer.json()["items"][0]["id"]
    assert_logged_with_ids(json_log(), request, str(extraction_id), video_id)


def assert_logged_with_ids(
    lines: list[dict[str, Any]], request: ReceivedSpan, extraction_id: str, video_id: str
) -> None:
    """Every line about the extraction leads to its request, and from the request to all of them."""
    own = [line for line in lines if line.get("trace_id") == request.trace_id]
    assert {line["request_id"] for line in own} == {request.attributes["fotograma.request.id"]}
    assert {line["extraction_id"] for line in own} == {extraction_id}
    assert {line["video_id"] for line in own} == {video_id}
    logged = {line["event"] for line in own}
    assert logged == {
        "request.answered",
        "video.accepted",
        "task.claimed",
        "task.split",
        "task.published",
        "notification.delivered",
        "notification.logged",
    }
    of_tasks = [line for line in own if line["event"].startswith("task.")]
    assert all(line["task_id"] and line["worker"] == "w1" and line["attempt"] == 1 for line in of_tasks)
    assert [line for line in lines if extraction_id in json.dumps(line) and line not in own] == []


def names_of_children(trace: list[ReceivedSpan], parent: ReceivedSpan) -> list[str]:
    return sorted({span.name for span in trace if span.parent == parent.span_id})


def assert_private(otlp: OtlpReceiver) -> None:
    """No span has a name of a person or file, an e-mail or a secret."""
    for private in (b"holiday", b"ana@", b"example.org", api_client.PASSWORD.encode(), b"Bearer"):
        assert not [body for body in otlp.bodies if private in body], private


async def test_failed_task_tells_the_code_of_its_error_and_no_text(
    deps: Deps, worker_deps: WorkerDeps, otlp: OtlpReceiver
) -> None:
    async with open_tracer("worker") as tracer:
        answer = await upload(deps, tracer, api_client.MP4)
        extraction_id = UUID(answer.json()["items"][0]["extraction"]["id"])
        await run_worker_until(replace(worker_deps, tracer=tracer), extraction_id, "failed")
    row = await database_rows.fetch_extraction(deps.database, extraction_id)
    span = otlp.one("process extract")
    assert (span.status, span.attributes["error.type"]) == ("ERROR", row.error_code)
    assert span.attributes["fotograma.task.outcome"] == "failed"
    assert_private(otlp)


async def test_requeued_extraction_goes_on_in_the_trace_of_its_request(
    deps: Deps,
    worker_deps: WorkerDeps,
    otlp: OtlpReceiver,
    poster: WebhookHttpClient,
    json_log: Callable[[], list[dict[str, Any]]],
) -> None:
    async with open_tracer("all") as tracer:
        answer = await upload(deps, tracer, api_client.MP4)
        failed_id = UUID(answer.json()["items"][0]["extraction"]["id"])
        await fail_task(deps.database, (await claim_one(deps.database)).lease, Blame.FILE, "service_failed")
        await requeue(deps.database, failed_id)
        claim = await claim_one(deps.database)
        assert claim.extraction_id != failed_id
        with task_span(claim, replace(worker_deps, tracer=tracer)):
            await fail_task(deps.database, claim.lease, Blame.FILE, "service_failed")
        await send_webhooks(deps.database, poster, tracer, "http://127.0.0.1:1")
    request = otlp.one("POST /v1/videos")
    later = [span for span in otlp.spans if span.trace_id == request.trace_id and span != request]
    new_id = str(claim.extraction_id)
    assert {span.parent for span in later} == {request.span_id}
    assert sorted((span.name, span.attributes["fotograma.extraction.id"]) for span in later) == [
        ("notify email", str(failed_id)),
        ("notify email", new_id),
        ("process extract", new_id),
        ("wait extract", new_id),
    ]
    ids = {(line["trace_id"], line["request_id"]) for line in json_log() if line.get("extraction_id") == new_id}
    assert ids == {(request.trace_id, answer.headers["x-request-id"])}


async def test_worker_obeys_an_api_that_records_nothing(
    deps: Deps, worker_deps: WorkerDeps, clips: ClipByName, otlp: OtlpReceiver
) -> None:
    async with open_tracer("worker") as tracer:
        answer = await upload(deps, NO_TRACER, clips("h264")[0].read_bytes())
        extraction_id = UUID(answer.json()["items"][0]["extraction"]["id"])
        await run_worker_until(replace(worker_deps, tracer=tracer), extraction_id, "succeeded")
    assert otlp.spans == []
    row = await database_rows.fetch_extraction(deps.database, extraction_id)
    assert row.traceparent.endswith("-00")
    assert row.request_id == answer.headers["x-request-id"]


@pytest.mark.parametrize("trusts_clients", [False, True])
async def test_trace_of_a_client_is_a_link_unless_clients_are_trusted(
    deps: Deps, otlp: OtlpReceiver, trusts_clients: bool
) -> None:
    async with open_tracer("api") as tracer:
        answer = await upload(
            deps, tracer, api_client.MP4, trusts_clients=trusts_clients, headers={"traceparent": TRACEPARENT}
        )
    span = otlp.one("POST /v1/videos")
    expected = (TRACE, SPAN, []) if trusts_clients else (span.trace_id, "", [TRACE])
    assert (span.trace_id, span.parent, span.links) == expected
    assert trusts_clients or span.trace_id != TRACE
    extraction_id = UUID(answer.json()["items"][0]["extraction"]["id"])
    row = await database_rows.fetch_extraction(deps.database, extraction_id)
    assert row.traceparent == f"00-{span.trace_id}-{span.span_id}-01"


@pytest.mark.parametrize("trusts_clients", [False, True])
async def test_client_can_neither_force_nor_prevent_the_record_unless_trusted(
    deps: Deps, otlp: OtlpReceiver, monkeypatch: pytest.MonkeyPatch, trusts_clients: bool
) -> None:
    # Nothing is recorded, except what a trusted parent has recorded. A hostile client asks for a record.
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    async with open_tracer("api") as tracer:
        await upload(deps, tracer, api_client.MP4, trusts_clients=trusts_clients, headers={"traceparent": TRACEPARENT})
    assert len(otlp.spans) == (1 if trusts_clients else 0)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")
    unrecorded = TRACEPARENT.removesuffix("01") + "00"
    async with open_tracer("api") as tracer:
        await upload(deps, tracer, api_client.MP4, trusts_clients=trusts_clients, headers={"traceparent": unrecorded})
    assert len(otlp.named("POST /v1/videos")) == 1


@pytest.mark.parametrize(
    "values",
    [
        ["00-" + "0" * 32 + f"-{SPAN}-01"],
        [f"00-{TRACE}-{SPAN}-01\x00"],
        ["x" * 8000],
        [TRACEPARENT, TRACEPARENT],
        [TRACEPARENT.replace("4", "\u0664")],
    ],
)
async def test_hostile_trace_of_a_client_is_ignored(deps: Deps, otlp: OtlpReceiver, values: list[str]) -> None:
    async with open_tracer("api") as tracer:
        app = create_app(replace(deps, tracing=RequestTracing(tracer, trusts_clients=True)))
        async with api_client.open_client(app) as client:
            headers = [(b"traceparent", value.encode()) for value in values]
            assert (await client.get("/openapi.json", headers=headers)).status_code == 200
    span = otlp.one("GET /openapi.json")
    assert (span.parent, span.links) == ("", [])
    assert span.trace_id != TRACE


async def test_probes_have_no_spans_and_unknown_paths_tell_nothing(deps: Deps, otlp: OtlpReceiver) -> None:
    async with open_tracer("api") as tracer:
        app = create_app(replace(deps, tracing=RequestTracing(tracer)))
        async with api_client.open_client(app) as client:
            await client.get("/healthz")
            await client.get("/v1/Ana's-holiday?token=Bearer")
    (span,) = otlp.spans
    assert (span.name, span.attributes["http.response.status_code"]) == ("GET", "404")
    assert_private(otlp)


async def test_receiver_that_hangs_delays_neither_requests_nor_the_end_of_a_replica(
    deps: Deps, otlp: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.wiring.span_export.FLUSH_SECONDS", 0.2)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    otlp.answering.clear()
    async with AsyncExitStack() as stack:
        tracer = await stack.enter_async_context(open_tracer("api"))
        app = create_app(replace(deps, tracing=RequestTracing(tracer)))
        async with api_client.open_client(app) as client:
            await client.get("/openapi.json")
            assert await asyncio.to_thread(otlp.arrived.wait, 20)
            # More than the queue holds, while the receiver keeps the first.
            answers = [await client.get("/openapi.json") for _ in range(20)]
        assert {answer.status_code for answer in answers} == {200}
        assert otlp.spans == []
        closing_at = time.monotonic()
        await stack.aclose()
    # The receiver would keep it waiting for half a minute.
    assert time.monotonic() - closing_at < 20


async def test_receiver_that_is_away_loses_spans_and_no_work(
    deps: Deps, worker_deps: WorkerDeps, clips: ClipByName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.wiring.span_export.FLUSH_SECONDS", 0.2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    async with open_tracer("all") as tracer:
        answer = await upload(deps, tracer, clips("h264")[0].read_bytes())
        extraction_id = UUID(answer.json()["items"][0]["extraction"]["id"])
        await run_worker_until(replace(worker_deps, tracer=tracer), extraction_id, "succeeded")


async def test_wrong_variable_of_opentelemetry_does_not_keep_a_replica_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    async with open_tracer("api") as tracer:
        assert tracer is NO_TRACER


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({ENDPOINTS[0]: "http://otel:4318/v1/traces"}, True),
        ({ENDPOINTS[1]: "http://otel:4318"}, True),
        ({ENDPOINTS[1]: " "}, False),
        ({ENDPOINTS[1]: "http://otel:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINTS[1]: "http://otel:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_standard_variables_switch_spans_on_and_off(environment: dict[str, str], expected: bool) -> None:
    assert is_enabled(environment) is expected


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        # The client of Redis imports the metrics of OpenTelemetry, if they are installed.
        ("cluster.wiring.api", ("opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf")),
        ("cluster.cli.app", ("opentelemetry",)),
    ],
)
def test_opentelemetry_is_not_imported_while_it_is_off(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert module in completed.stdout.split()
    assert [name for name in completed.stdout.split() if name.startswith(absent)] == []

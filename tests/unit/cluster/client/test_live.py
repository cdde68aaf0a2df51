"""`Client.wait` by the events of the service: one stream, hardly a poll, and none is needed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from cluster.client.api_types import Extraction, Progress, Status
from cluster.client.calls import extraction_calls
from cluster.client.live.live_extractions import LiveExtractions
from cluster.client.live.server_sent_events import EventParser, ServerSentEvent
from cluster.client.retry_policy import RetryPolicy
from fotograma import AsyncClient, Client
from tests.support.clients.fake_messages import answer_problem
from tests.support.clients.fake_service import FakeService
from tests.support.clients.fake_service_clients import CLIENT_KINDS, BlockingAsyncClient
from tests.support.clients.fake_service_http_server import serve_fake_service

STREAM = b"retry: 900\nid: 7\n\nid: 8\nevent: extraction\r\ndata: {\ndata: }\n\n: keep-alive\nid: 9\n\ndata: x"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_bytes_are_cut(size: int) -> None:
    parser = EventParser()
    chunks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert [event for chunk in chunks for event in parser.feed(chunk)] == [ServerSentEvent("extraction", b"{\n}")]
    assert parser.last_event_id == "9"
    parser.restart()
    assert list(parser.feed(b"data: y\n\n")) == [ServerSentEvent("message", b"y")]


NOW = datetime(2026, 1, 2, tzinfo=UTC)


def state(id_: str, version: int, status: Status = Status.RUNNING) -> Extraction:
    return Extraction(id_, "v-1", {}, status, Progress(), NOW, version=version)


def test_newest_state_is_kept_and_wakes_those_who_wait_for_it() -> None:
    live, waiter = LiveExtractions(), threading.Event()
    live.tell(state("e-1", 9))
    with live.following("e-1"):
        assert live.newer(state("e-1", 0)) is None
        with live.waiting(state("e-1", 3), live.epoch, waiter):
            live.tell(state("e-2", 9))
            assert not waiter.is_set()
            live.tell(state("e-1", 4))
            assert waiter.is_set()
        live.tell(state("e-1", 2))
        assert live.newer(state("e-1", 3)) == state("e-1", 4)
        assert live.newer(state("e-1", 4)) is None
    assert not live.is_followed
    with live.following("e-1"):
        assert live.newer(state("e-1", 0)) is None


def test_begin_and_end_of_a_stream_wake_all_also_those_who_are_late() -> None:
    live = LiveExtractions()
    for is_open in (True, False):
        epoch, early, late = live.epoch, threading.Event(), threading.Event()
        with live.waiting(state("e-1", 0), epoch, early):
            live.change_open(is_open)
            live.change_open(is_open)
            assert early.is_set()
        with live.waiting(state("e-1", 0), epoch, late):
            assert late.is_set()


@pytest.fixture
def service() -> FakeService:
    fake = FakeService()
    fake.polls_until_end = 10**9
    return fake


@contextmanager
def opened(kind: str, url: str) -> Iterator[Any]:
    retry = RetryPolicy(first_seconds=0.01)
    if kind == "blocking":
        with Client(url, "fg_key", retry=retry) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        asynchronous = AsyncClient(url, "fg_key", retry=retry)
        yield BlockingAsyncClient(asynchronous, runner)
        runner.run(asynchronous.close())


def event(service: FakeService, id_: int, version: int, **changes: Any) -> bytes:
    (video,) = service.videos.values()
    extraction = video["extraction"] | {"status": "running", "version": version} | changes
    return b"id: %d\nevent: extraction\ndata: %b\n\n" % (id_, json.dumps(extraction).encode())


DONE = {"status": "succeeded", "result": {"frames": 5, "bytes": 9, "sha256": "ab"}}


def upload(client: Any, tmp_path: Path) -> Extraction:
    (tmp_path / "a.mp4").write_bytes(b"video a")
    extraction: Extraction = client.upload(tmp_path / "a.mp4").extraction
    return extraction


def when_polled(service: FakeService, act: Callable[[], None]) -> None:
    """Acts after the first poll, which comes when the stream has begun."""

    def poll(request: Any, carry_out: Any) -> Any:
        response = carry_out()
        act()
        return response

    service.add_faults("GET", "/v1/extractions/.*", poll)


@pytest.mark.parametrize("kind", CLIENT_KINDS)
def test_wait_learns_the_end_from_one_stream(
    kind: str, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long the stream takes to begin, its begin causes the only poll.
    monkeypatch.setattr(extraction_calls, "POLL_FIRST_SECONDS", 60.0)
    monkeypatch.setattr(extraction_calls, "LIVE_POLL_SECONDS", 60.0)
    stream: Queue[bytes | None] = Queue()
    service.event_streams = deque([stream])
    with serve_fake_service(service) as url, opened(kind, url) as client:
        queued = upload(client, tmp_path)
        stream.put(b"retry: 900\n")
        when_polled(service, lambda: stream.put(event(service, 1, 1, progress={"frames_done": 3})))
        seen: list[Extraction] = []

        def on_progress(latest: Extraction) -> None:
            seen.append(latest)
            if latest.version == 1:
                stream.put(event(service, 2, 2, **DONE))

        assert client.wait(queued, on_progress=on_progress).result.frames == 5
        assert [latest.version for latest in seen] == [0, 0, 1, 2]
        assert len(service.requests_to("GET", "/v1/extractions/.*")) == 1
        assert len(service.requests_to("GET", "/v1/events")) == 1
        stream.put(None)


@pytest.mark.parametrize("kind", CLIENT_KINDS)
def test_stream_that_ends_is_continued_where_it_was(kind: str, service: FakeService, tmp_path: Path) -> None:
    first, second = Queue[bytes | None](), Queue[bytes | None]()
    service.event_streams = deque([first, second])
    with serve_fake_service(service) as url, opened(kind, url) as client:
        queued = upload(client, tmp_path)
        for chunk in (b"id: 41\n\n", None):
            first.put(chunk)
        second.put(event(service, 42, 1, **DONE))
        assert client.wait(queued).result.frames == 5
        second.put(None)
    headers = [request.headers.get("last-event-id") for request in service.requests_to("GET", "/v1/events")]
    assert headers[:2] == [None, "41"]


@pytest.mark.parametrize("kind", CLIENT_KINDS)
def test_wait_polls_when_the_service_refuses_the_stream(kind: str, service: FakeService, tmp_path: Path) -> None:
    service.event_streams = deque()
    service.polls_until_end = 3
    service.add_faults("HEAD", "/v1/events", answer_problem(503, "unavailable"))
    with serve_fake_service(service) as url, opened(kind, url) as client:
        assert client.wait(upload(client, tmp_path)).result.frames == 2
    assert service.requests_to("GET", "/v1/events")


@pytest.mark.parametrize("kind", CLIENT_KINDS)
def test_many_waits_share_one_stream(kind: str, service: FakeService, tmp_path: Path) -> None:
    stream: Queue[bytes | None] = Queue()
    service.event_streams = deque([stream])
    sources = [b"video %d" % number for number in range(6)]

    def end_all() -> None:
        for number, video in enumerate(service.videos.values(), 1):
            ended = video["extraction"] | DONE | {"version": 1}
            stream.put(b"id: %d\nevent: extraction\ndata: %b\n\n" % (number, json.dumps(ended).encode()))

    with serve_fake_service(service) as url, opened(kind, url) as client:
        stream.put(b"id: 1\n\n")
        queued, lock = set(), threading.Lock()

        def on_progress(step: Any) -> None:
            with lock:
                if step.stage == "queued" and step.index not in queued:
                    queued.add(step.index)
                    if len(queued) == len(sources):
                        end_all()

        outcomes = client.extract(sources, on_progress=on_progress)
        stream.put(None)
    assert [outcome.result.frames for outcome in outcomes] == [5] * 6
    assert len(service.requests_to("GET", "/v1/events")) == 1

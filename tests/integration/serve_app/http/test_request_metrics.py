"""What an API replica counts: requests by the pattern of their route, submissions, refusals by their error code."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from db.acceptance.quotas import Quotas
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients import api_client


class RecordedApiMetrics:
    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str, int]] = Counter()
        self.seconds: list[float] = []
        self.accepted_count = 0
        self.refusals: Counter[str] = Counter()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        self.answers[method, route, status] += 1
        self.seconds.append(seconds)

    def accepted(self, count: int) -> None:
        self.accepted_count += count

    def refused(self, reason: str) -> None:
        self.refusals[reason] += 1


@pytest.fixture
def metrics() -> RecordedApiMetrics:
    return RecordedApiMetrics()


@pytest.fixture
async def client(deps: Deps, metrics: RecordedApiMetrics) -> AsyncIterator[httpx.AsyncClient]:
    """Logged in; one extraction of the account may wait."""
    counted = replace(deps, metrics=metrics, limits=api_client.make_limits(quotas=Quotas(waiting=1)))
    async with api_client.open_client(create_app(counted)) as client:
        await api_client.log_in(client)
        yield client
    await counted.extraction_feed.close()


async def test_requests_are_counted_by_pattern_not_by_path(
    client: httpx.AsyncClient, metrics: RecordedApiMetrics
) -> None:
    for path in ("/v1/videos/0190c0de-0000-7000-8000-000000000001", "/v1/videos/0190c0de-0000-7000-8000-000000000002"):
        assert (await client.get(path)).status_code == 404
    assert metrics.answers["GET", "/v1/videos/{id}", 404] == 2
    assert len(metrics.seconds) == metrics.answers.total()
    assert all(0 < seconds < 60 for seconds in metrics.seconds)


async def test_paths_and_methods_that_a_client_makes_up_add_no_label(
    client: httpx.AsyncClient, metrics: RecordedApiMetrics
) -> None:
    before = metrics.answers.copy()
    for number in range(3):
        await client.get(f"/made/up/{number}")
        await client.request(f"MADEUP{number}", "/healthz")
    new = metrics.answers - before
    assert {(method, route) for method, route, _ in new} == {("GET", "unmatched"), ("other", "/healthz")}
    assert new.total() == 6


async def test_submissions_are_counted_as_accepted_or_by_the_code_of_their_refusal(
    client: httpx.AsyncClient, metrics: RecordedApiMetrics
) -> None:
    await api_client.upload_video(client)
    refused = await api_client.upload_videos(client, ("second.mp4", api_client.MP4))
    assert api_client.status_and_code(refused) == (429, "too_many_waiting")
    assert (metrics.accepted_count, metrics.refusals) == (1, {"too_many_waiting": 1})


async def test_error_of_another_request_is_no_refused_submission(
    client: httpx.AsyncClient, metrics: RecordedApiMetrics
) -> None:
    await client.get("/v1/videos", params={"limit": "many"})
    assert not metrics.refusals

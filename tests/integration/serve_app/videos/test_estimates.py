"""Estimates over HTTP: of a stored video, of a file that is not uploaded, and refused requests."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from db.object_store.folder_store import FolderStore
from db.queue import task_queue
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients import api_client
from tests.support.clients.api_client import status_and_code
from tests.support.decoding_children import start_child
from tests.support.videos.clips import ClipByName

MEDIA = {"codec": "h264", "width": 1920, "height": 1080, "duration": 90.04, "fps_average": 25}


@pytest.fixture
def store(deps: Deps) -> Any:
    """The object store of the application, which the worker uses as well."""
    assert isinstance(deps.objects, FolderStore)
    return deps.objects


async def extract(ana: httpx.AsyncClient, worker_deps: WorkerDeps, video_id: str, spec: dict[str, Any]) -> Any:
    """Extracts a stored video with a real worker; returns the result's representation."""
    answer = await ana.post(f"/v1/videos/{video_id}/extractions", json={"spec": spec})
    assert answer.status_code == 201
    await run_next(worker_deps)
    return (await ana.get(f"/v1/extractions/{answer.json()['id']}")).json()["result"]


async def run_next(worker_deps: WorkerDeps) -> None:
    (claim,) = await task_queue.claim(worker_deps.database, worker="w1")
    child = await start_child()
    assert await perform(claim, child, worker_deps, asyncio.Event(), lambda: None) is TaskOutcome.PUBLISHED


async def test_estimate_of_a_stored_video_is_within_a_fifth_of_the_result(
    ana: httpx.AsyncClient, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    video = await api_client.upload_video(ana, "clip.mp4", clips("h264")[0].read_bytes())
    await run_next(worker_deps)
    for sample in (
        {"mode": "all"},
        {"mode": "every_nth", "n": 3},
        {"mode": "uniform", "count": 7},
        {"mode": "keyframes"},
    ):
        spec = {"sample": sample}
        answer = await ana.post("/v1/estimates", json={"video_id": video["id"], "spec": spec})
        assert answer.status_code == 200
        estimate, result = answer.json(), await extract(ana, worker_deps, video["id"], spec)
        assert estimate["frames"] == pytest.approx(result["frames"], rel=0.2)
        assert estimate["bytes"] == pytest.approx(result["bytes"], rel=0.2)
        assert estimate["seconds"] > 0


async def test_estimate_of_a_file_that_is_not_uploaded_needs_only_its_media_facts(ana: httpx.AsyncClient) -> None:
    answer = await ana.post("/v1/estimates", json={"media": MEDIA, "spec": {"sample": {"mode": "fps", "fps": 2}}})
    assert answer.status_code == 200
    assert answer.json()["frames"] == 181
    assert 10_000_000 < answer.json()["bytes"] < 200_000_000


async def test_facts_that_a_browser_does_not_know_are_those_of_the_latest_videos(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    every_frame = {"sample": {"mode": "all"}}

    async def estimate(**facts: object) -> Any:
        answer = await ana.post("/v1/estimates", json={"media": MEDIA | facts, "spec": every_frame})
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert await estimate(codec=None, fps_average=None) == await estimate(codec="h264", fps_average=30)
    assert await estimate(codec="avc1.64001f") == await estimate(codec="H.264") == await estimate(codec="h264")
    assert (await estimate(codec="prores"))["seconds"] > (await estimate(codec="h264"))["seconds"]
    for codec in ("hevc", "hevc", "vp9"):
        await api_client.upload_video(ana)
        media = api_client.MEDIA | {"codec": codec, "fps_average": 50.0}
        await api_client.publish_next_task(deps, api_client.make_result([b"image"]), media)
    assert await estimate(codec=None, fps_average=None) == await estimate(codec="hvc1", fps_average=50)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({}, (422, "invalid_field")),
        ({"media": MEDIA, "video_id": "0"}, (422, "invalid_field")),
        ({"media": MEDIA, "other": 1}, (422, "invalid_field")),
        ({"media": MEDIA | {"width": -1}}, (422, "invalid_field")),
        ({"media": MEDIA | {"duration": 0}}, (422, "invalid_field")),
        ({"media": MEDIA | {"duration": "ten"}}, (422, "invalid_field")),
        ({"media": MEDIA | {"duration": 10**400}}, (422, "invalid_field")),
        ({"media": MEDIA | {"duration": True}}, (422, "invalid_field")),
        ({"media": MEDIA | {"duration": None}}, (422, "invalid_field")),
        ({"media": MEDIA | {"fps_average": 10**400}}, (422, "invalid_field")),
        ({"media": MEDIA | {"fps_average": -1}}, (422, "invalid_field")),
        ({"media": MEDIA | {"codec": 264}}, (422, "invalid_field")),
        ({"media": MEDIA | {"bitrate": 1}}, (422, "invalid_field")),
        ({"media": None}, (422, "invalid_field")),
        ({"media": MEDIA, "spec": {"sample": {"mode": "some"}}}, (422, "invalid_spec")),
        ({"video_id": "01a223d8-2767-71ae-9cbf-73064d755222"}, (404, "not_found")),
        ({"video_id": "none"}, (400, "malformed_request")),
        ([], (422, "invalid_field")),
    ],
)
async def test_invalid_estimate_request_is_refused(ana: httpx.AsyncClient, body: Any, answer: tuple[int, str]) -> None:
    assert status_and_code(await ana.post("/v1/estimates", json=body)) == answer


async def test_video_that_no_worker_has_read_has_no_estimate_yet(ana: httpx.AsyncClient) -> None:
    video = await api_client.upload_video(ana)
    refused = await ana.post("/v1/estimates", json={"video_id": video["id"]})
    assert status_and_code(refused) == (409, "not_probed")
    assert refused.headers["retry-after"] == "2"


async def test_estimate_reveals_nothing_of_other_accounts(
    ana: httpx.AsyncClient, deps: Deps, database: AsyncEngine, worker_deps: WorkerDeps, clips: ClipByName
) -> None:
    video = await api_client.upload_video(ana, "clip.mp4", clips("h264")[0].read_bytes())
    before = (await ana.post("/v1/estimates", json={"media": MEDIA})).json()
    await run_next(worker_deps)
    async with api_client.open_client(create_app(deps)) as bob:
        await api_client.log_in(bob, "bob@example.org")
        refused = await bob.post("/v1/estimates", json={"video_id": video["id"]})
        assert status_and_code(refused) == (404, "not_found")
        assert (await bob.post("/v1/estimates", json={"media": MEDIA})).json() == before

"""Extractions over HTTP: progress, cancel, retry, and cached representations."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from db.cache import open_cache
from db.queue import task_queue
from db.values.lifecycle import Blame
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.openapi import response_schemas
from tests.support.clients.api_client import (
    MEDIA,
    make_result,
    open_client,
    publish_next_task,
    status_and_code,
    upload_video,
    upload_videos,
)

RESULT = make_result([b"one", b"two"])


async def fail_next_task(deps: Deps, code: str = "no_video_stream") -> None:
    (claim,) = await task_queue.claim(deps.database, worker="w")
    await task_queue.fail(deps.database, claim.lease, blame=Blame.FILE, code=code, detail="Only sound.", jitter=0.0)


async def test_representation_shows_progress_at_every_step(ana: httpx.AsyncClient, deps: Deps) -> None:
    video = await upload_video(ana)
    path = f"/v1/extractions/{video['extraction']['id']}"
    (claim,) = await task_queue.claim(deps.database, worker="w")
    running = (await ana.get(path)).json()
    assert (running["status"], running["attempt"]) == ("running", 1)
    assert running["progress"]["frames_total"] is running["progress"]["fraction"] is None
    assert running["progress"]["queue_position"] is None
    assert running["started_at"] is not None
    await task_queue.plan(deps.database, claim.lease, media=MEDIA, frames_total=4)
    await task_queue.heartbeat(deps.database, claim.lease, frames_done=1)
    halfway = (await ana.get(path)).json()
    assert (halfway["progress"]["frames_done"], halfway["progress"]["fraction"]) == (1, 0.25)
    assert halfway["progress"]["eta_seconds"] >= 0
    assert halfway["version"] > running["version"]
    media = (await ana.get(f"/v1/videos/{video['id']}")).json()["media"]
    # Only estimates use the number of key frames.
    assert media == {name: value for name, value in MEDIA.items() if name != "key_frames"}


async def test_succeeded_extraction_has_its_result(ana: httpx.AsyncClient, deps: Deps) -> None:
    video = await upload_video(ana)
    await publish_next_task(deps, RESULT)
    extraction = (await ana.get(f"/v1/extractions/{video['extraction']['id']}")).json()
    assert extraction["status"] == "succeeded"
    assert extraction["progress"]["fraction"] == 1
    assert extraction["result"] == {
        "frames": 2,
        "bytes": len(RESULT.archive),
        "sha256": RESULT.sha256,
        "warnings": [],
        "expires_at": None,
    }
    assert (await ana.get("/v1/me")).json()["use"]["videos"] == 1


async def test_responses_match_the_openapi_schemas(ana: httpx.AsyncClient, deps: Deps) -> None:
    video = await upload_video(ana)
    paths = f"/v1/videos/{video['id']}", f"/v1/extractions/{video['extraction']['id']}"

    async def check() -> None:
        response_schemas.Video.model_validate_json((await ana.get(paths[0])).content)
        response_schemas.Extraction.model_validate_json((await ana.get(paths[1])).content)
        response_schemas.VideoPage.model_validate_json((await ana.get("/v1/videos")).content)
        response_schemas.Account.model_validate_json((await ana.get("/v1/me")).content)

    await check()
    await fail_next_task(deps)
    await check()
    await ana.post(f"{paths[1]}/retry")
    await publish_next_task(deps, RESULT)
    await check()
    response_schemas.Problem.model_validate_json((await ana.get("/v1/videos/x")).content)
    response_schemas.Problem.model_validate_json((await upload_videos(ana, ("a.mp4", b"text"))).content)
    response_schemas.Readiness.model_validate_json((await ana.get("/readyz")).content)


async def test_failure_has_fault_and_remedy(ana: httpx.AsyncClient, deps: Deps) -> None:
    video = await upload_video(ana)
    await fail_next_task(deps)
    shown = (await ana.get(f"/v1/videos/{video['id']}")).json()
    assert shown["status"] == "failed"
    error = shown["extraction"]["error"]
    assert (error["code"], error["detail"], error["fault"]) == ("no_video_stream", "Only sound.", "file")
    assert error["remedy"]


async def test_cancel_takes_effect_at_once(ana: httpx.AsyncClient) -> None:
    path = f"/v1/extractions/{(await upload_video(ana))['extraction']['id']}"
    cancelled = await ana.post(f"{path}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    assert (await ana.get(path)).json() == cancelled.json()
    assert status_and_code(await ana.post(f"{path}/cancel")) == (409, "wrong_state")


async def test_retry_of_a_failed_or_cancelled_extraction_creates_a_new_one(ana: httpx.AsyncClient, deps: Deps) -> None:
    video = await upload_video(ana)
    path = f"/v1/extractions/{video['extraction']['id']}/retry"
    assert status_and_code(await ana.post(path)) == (409, "wrong_state")
    await fail_next_task(deps)
    again = await ana.post(path)
    assert again.status_code == 201
    assert again.json()["id"] != video["extraction"]["id"]
    assert again.json()["spec"] == video["extraction"]["spec"]
    shown = (await ana.get(f"/v1/videos/{video['id']}")).json()
    assert (shown["status"], shown["extraction"]) == ("queued", again.json())
    assert (await ana.get(f"/v1/extractions/{video['extraction']['id']}")).json()["status"] == "failed"


async def test_stored_video_is_extracted_again_and_an_equal_result_is_reused(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    video = await upload_video(ana)
    path = f"/v1/videos/{video['id']}/extractions"
    await publish_next_task(deps, RESULT)
    reused = await ana.post(path, json={"spec": {"sample": {"mode": "fps", "fps": 1}}})
    assert reused.status_code == 201
    assert (reused.json()["status"], reused.json()["reused"]) == ("succeeded", True)
    assert (await ana.get(f"/v1/extractions/{reused.json()['id']}/frames.zip")).content == RESULT.archive
    other = await ana.post(
        path, content=b'{"spec": {"sample": {"fps": 0.3}}}', headers={"Content-Type": "application/json"}
    )
    assert (other.json()["status"], other.json()["reused"]) == ("queued", False)
    assert '"fps":0.3}' in other.text
    assert (await ana.post(path, json={})).json()["reused"] is True


async def test_result_of_another_engine_version_is_not_reused(ana: httpx.AsyncClient, deps: Deps) -> None:
    video = await upload_video(ana)
    await publish_next_task(deps, RESULT)
    async with open_client(create_app(replace(deps, engine_name="auto/next")), headers=ana.headers) as client:
        again = await client.post(f"/v1/videos/{video['id']}/extractions", json={})
    assert again.json()["status"] == "queued"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"spec": {"sample": {"fps": -1}}}, (422, "invalid_spec")),
        ({"sepc": {}}, (422, "invalid_field")),
        ([], (422, "invalid_field")),
        ({"spec": None}, (422, "invalid_spec")),
    ],
)
async def test_invalid_extraction_request_is_refused(
    ana: httpx.AsyncClient, body: object, expected: tuple[int, str]
) -> None:
    video = await upload_video(ana)
    assert status_and_code(await ana.post(f"/v1/videos/{video['id']}/extractions", json=body)) == expected


async def test_extraction_with_an_idempotency_key_is_created_once(ana: httpx.AsyncClient) -> None:
    path = f"/v1/videos/{(await upload_video(ana))['id']}/extractions"
    key = {"Idempotency-Key": "k"}
    first = await ana.post(path, json={"spec": {"sample": {"fps": 2}}}, headers=key)
    again = await ana.post(path, json={"spec": {"sample": {"fps": 2.0, "mode": "fps"}}}, headers=key)
    assert again.content == first.content
    other = await ana.post(path, json={"spec": {"sample": {"fps": 3}}}, headers=key)
    assert status_and_code(other) == (422, "idempotency_key_reused")
    retried = f"/v1/extractions/{first.json()['id']}"
    await ana.post(f"{retried}/cancel")
    first_retry = await ana.post(f"{retried}/retry", headers=key)
    second_retry = await ana.post(f"{retried}/retry", headers=key)
    assert first_retry.status_code == 201
    assert first_retry.content == second_retry.content


@pytest.fixture
def long_cache_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets Redis answer in time on a slow machine, and entries live as long as the test."""
    monkeypatch.setattr("db.cache.TIMEOUT_SECONDS", 30.0)
    monkeypatch.setattr("db.cache.LIVE_SECONDS", 3600)


@pytest.mark.usefixtures("long_cache_times")
async def test_cached_representation_is_used_only_in_its_newest_version(ana: httpx.AsyncClient, deps: Deps) -> None:
    video = await upload_video(ana)
    path = f"/v1/videos/{video['id']}"
    await ana.get(path)
    # Only the cached representation of this version has the old name.
    async with deps.database.begin() as connection:
        await connection.execute(text("UPDATE videos SET filename = 'renamed.mp4'"))
    assert (await ana.get(path)).json()["filename"] == "clip.mp4"
    await task_queue.claim(deps.database, worker="w")
    newer = (await ana.get(path)).json()
    assert (newer["filename"], newer["status"]) == ("renamed.mp4", "running")


async def test_access_is_never_decided_by_the_cache(ana: httpx.AsyncClient) -> None:
    video = await upload_video(ana)
    await ana.get(f"/v1/videos/{video['id']}")
    await ana.delete(f"/v1/videos/{video['id']}")
    assert (await ana.get(f"/v1/videos/{video['id']}")).status_code == 404
    await ana.delete("/v1/tokens")
    assert (await ana.get("/v1/videos")).status_code == 401


async def test_without_cache_representations_come_from_postgres(ana: httpx.AsyncClient, deps: Deps) -> None:
    deps_without_cache = replace(deps, cache=open_cache("redis://127.0.0.1:1"))
    async with open_client(create_app(deps_without_cache), headers=ana.headers) as client:
        video = await upload_video(client)
        assert (await client.get(f"/v1/videos/{video['id']}")).json() == video
        assert (await client.get("/v1/videos")).json()["items"] == [video]
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["parts"]["cache"]) == (200, "away")
    await deps_without_cache.cache.close()


async def test_wrong_state_has_the_current_status(ana: httpx.AsyncClient) -> None:
    extraction = (await upload_video(ana))["extraction"]
    running = await ana.post(f"/v1/extractions/{extraction['id']}/retry")
    assert (running.status_code, running.json()["code"], running.json()["current_status"]) == (
        409,
        "wrong_state",
        "queued",
    )
    assert (await ana.post(f"/v1/extractions/{extraction['id']}/cancel")).status_code == 202
    ended = await ana.post(f"/v1/extractions/{extraction['id']}/cancel")
    assert (ended.status_code, ended.json()["code"], ended.json()["current_status"]) == (
        409,
        "wrong_state",
        "cancelled",
    )
    for path in (
        f"/v1/extractions/{uuid4()}/cancel",
        f"/v1/extractions/{uuid4()}/retry",
        f"/v1/videos/{uuid4()}/extractions",
    ):
        assert (await ana.post(path, json={})).status_code == 404

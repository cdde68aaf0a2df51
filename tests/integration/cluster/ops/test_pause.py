"""`fotograma ops pause` and `resume`: what the API and the workers begin, and what goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.accounts import accounts
from db.queue import task_queue
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.openapi import admin_schemas
from tests.integration.cluster.ops.conftest import RunOps
from tests.support.clients import api_client, tus_client
from tests.support.clients.api_client import MP4, upload_video, upload_videos
from tests.support.clients.limited_api import assert_refused, send_unread


@pytest.fixture(autouse=True)
def no_cached_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.submission.admission_control.PAUSE_CACHE_SECONDS", 0.0)


async def test_paused_accepting_refuses_everything_new_before_its_body(
    ops: RunOps, deps: Deps, ana: httpx.AsyncClient
) -> None:
    video = await upload_video(ana)
    extraction = video["extraction"]["id"]
    await ana.post(f"/v1/extractions/{extraction}/cancel")
    opened, deferred = await tus_client.open_upload(ana, len(MP4)), await tus_client.open_upload(ana, len(MP4))
    assert (await ops("pause", "accepting")).code == 0
    refused = [
        await send_unread(ana),
        await ana.post("/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "5"}),
        await tus_client.patch(ana, opened, 0, MP4),
        await ana.post(f"/v1/videos/{video['id']}/extractions", json={}),
        await ana.post(f"/v1/extractions/{extraction}/retry"),
    ]
    for answer in refused:
        assert assert_refused(answer, 503, "paused", "service") >= 5
    assert len((await ana.get("/v1/videos")).json()["items"]) == 1
    assert (await ops("resume", "accepting")).out == "Accepting goes on.\n"
    assert (await tus_client.patch(ana, deferred, 0, MP4)).status_code == 204
    assert (await upload_videos(ana, ("b.mp4", MP4))).status_code == 201


async def test_paused_accepting_answers_repeated_requests_and_serves_results(
    ops: RunOps, deps: Deps, ana: httpx.AsyncClient
) -> None:
    key = {"Idempotency-Key": "one"}
    first = await upload_videos(ana, ("a.mp4", MP4), headers=key)
    extraction = await api_client.publish_next_task(deps, api_client.make_result([b"image"]))
    await ops("pause", "accepting")
    again = await upload_videos(ana, ("a.mp4", MP4), headers=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert (await ana.get(f"/v1/extractions/{extraction}/frames.zip")).status_code == 200


async def test_pause_outlives_the_replica_and_leaves_the_service_ready(
    ops: RunOps, deps: Deps, ana: httpx.AsyncClient, tmp_path: Path
) -> None:
    await accounts.set_role(deps.database, "ana@example.org", accounts.ADMIN)
    for activity in ("accepting", "claiming"):
        await ops("pause", activity)
    restarted = api_client.make_deps(deps.database, tmp_path / "objects", deps.cache)
    async with api_client.open_client(create_app(restarted), headers=ana.headers) as client:
        assert_refused(await send_unread(client), 503, "paused", "service")
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["paused"]) == (200, ["accepting", "claiming"])
        queue = admin_schemas.Queue.model_validate_json((await client.get("/v1/admin/queue")).content)
        assert queue.accepting_paused_at is not None
        assert queue.claiming_paused_at is not None
    restarted.password_hasher.close()


async def test_paused_claiming_starts_no_task_and_lets_the_started_one_end(
    ops: RunOps, deps: Deps, ana: httpx.AsyncClient
) -> None:
    await upload_video(ana, "a.mp4")
    await upload_video(ana, "b.mp4")
    (started,) = await task_queue.claim(deps.database, worker="w1")
    paused = await ops("pause", "claiming")
    assert (paused.code, "start nothing new" in paused.out) == (0, True)
    assert await task_queue.claim(deps.database, worker="w2", limit=5) == []
    await task_queue.heartbeat(deps.database, started.lease, frames_done=1)
    await task_queue.release(deps.database, started.lease)
    assert await task_queue.claim(deps.database, worker="w1", limit=5) == []
    await ops("resume", "claiming")
    assert len(await task_queue.claim(deps.database, worker="w1", limit=5)) == 2


async def test_second_pause_keeps_the_time_of_the_first(ops: RunOps) -> None:
    async def paused(*arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads((await ops(*arguments, "--json")).out)["paused"]
        return answer

    first = await paused("pause", "claiming")
    assert first["accepting"] is None
    assert await paused("pause", "claiming") == first
    assert await paused("resume", "claiming") == {"accepting": None, "claiming": None}
    assert await paused("resume", "claiming") == {"accepting": None, "claiming": None}


async def test_pause_of_an_unknown_activity_is_a_wrong_command_line(ops: RunOps) -> None:
    refused = await ops("pause", "everything")
    assert refused.code == 2
    assert "accepting" in refused.err


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("postgresql://nobody@127.0.0.1:1/none", 69, "does not answer"),
        ("", 1, "set FOTOGRAMA_DATABASE_URL"),
    ],
)
async def test_database_that_is_away_is_said_with_the_remedy(
    ops: RunOps, settings: pytest.MonkeyPatch, tmp_path: Path, url: str, code: int, words: str
) -> None:
    settings.setenv("FOTOGRAMA_DATABASE_URL", url)
    refused = await ops("pause", "accepting", "--home", str(tmp_path))
    assert (refused.code, refused.out) == (code, "")
    assert words in refused.err

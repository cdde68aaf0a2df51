"""Idempotent requests and stored results are answered when new work is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.acceptance import idempotency_keys
from db.acceptance.idempotency_keys import OwnedKey, StoredResponse
from db.acceptance.quotas import Quotas
from serve_app.deps import Deps
from serve_app.security.rate_limit import RateLimit
from tests.support.clients import api_client
from tests.support.clients.api_client import MP4, upload_video, upload_videos
from tests.support.clients.limited_api import ONE_PER_HOUR, assert_refused, open_limited_api


async def test_repeated_idempotent_request_is_answered_past_every_limit(deps: Deps, tmp_path: Path) -> None:
    limits: dict[str, Any] = {"rate": ONE_PER_HOUR, "quotas": Quotas(1, len(MP4)), "max_queued_tasks": 1}
    async with open_limited_api(deps, tmp_path, **limits) as (limited_deps, client):
        key = {"Idempotency-Key": "one"}
        first = await upload_videos(client, ("a.mp4", MP4), headers=key)
        assert first.status_code == 201
        for max_uploads in (0, 64):
            object.__setattr__(limited_deps.limits, "max_concurrent_uploads", max_uploads)
            again = await upload_videos(client, ("a.mp4", MP4), headers=key)
            assert (again.status_code, again.content) == (201, first.content)
            assert again.headers["idempotency-replayed"] == "true"
        assert_refused(
            await upload_videos(client, ("a.mp4", MP4), headers={"Idempotency-Key": "two"}),
            429,
            "too_many_requests",
            "request",
        )


@pytest.mark.parametrize("route", ["/v1/videos/{video}/extractions", "/v1/extractions/{extraction}/retry"])
async def test_key_that_expires_during_its_request_does_not_bypass_the_rate(
    deps: Deps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    find_response = idempotency_keys.find_response

    async def expire_after_look_up(database: AsyncEngine, owned: OwnedKey) -> StoredResponse | None:
        answer = await find_response(database, owned)
        async with database.begin() as connection:
            await connection.execute(text("UPDATE idempotency_keys SET created_at = created_at - interval '2 days'"))
        return answer

    async with open_limited_api(deps, tmp_path, rate=RateLimit(burst=2, refill_seconds=3600)) as (_, client):
        video = await upload_video(client)
        extraction_id = video["extraction"]["id"]
        await client.post(f"/v1/extractions/{extraction_id}/cancel")
        path, key = route.format(video=video["id"], extraction=extraction_id), {"Idempotency-Key": "one"}
        first = await client.post(path, json={}, headers=key)
        assert first.status_code == 201
        monkeypatch.setattr(idempotency_keys, "find_response", expire_after_look_up)
        again = await client.post(path, json={}, headers=key)
        assert (again.status_code, again.content) == (201, first.content)
        assert_refused(await client.post(path, json={}, headers=key), 429, "too_many_requests", "request")


async def test_refused_request_leaves_its_idempotency_key_unused(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(waiting=1)) as (_, client):
        video = await upload_video(client)
        key = {"Idempotency-Key": "later"}
        assert_refused(await upload_videos(client, ("b.mp4", MP4), headers=key), 429, "too_many_waiting", "request")
        await client.post(f"/v1/extractions/{video['extraction']['id']}/cancel")
        assert (await upload_videos(client, ("b.mp4", MP4), headers=key)).status_code == 201


async def test_idempotency_in_progress_is_answered_before_any_limit(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, rate=RateLimit(1, 3600)) as (_, client):
        started, end = asyncio.Event(), asyncio.Event()

        async def slow_body() -> AsyncIterator[bytes]:
            head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
            yield head + MP4
            started.set()
            await end.wait()
            yield b"\r\n--b--\r\n"

        headers = {"Idempotency-Key": "k", "Content-Type": "multipart/form-data; boundary=b"}
        first = asyncio.create_task(client.post("/v1/videos", content=slow_body(), headers=headers))
        await started.wait()
        assert_refused(
            await upload_videos(client, ("a.mp4", MP4), headers={"Idempotency-Key": "k"}),
            409,
            "idempotency_in_progress",
            "request",
        )
        end.set()
        assert (await first).status_code == 201


LIMITS: dict[str, tuple[str, Any, int, str, str]] = {
    "waiting": ("quotas", Quotas(waiting=0), 429, "too_many_waiting", "request"),
    "stored bytes": ("quotas", Quotas(stored_bytes=1), 429, "quota_exceeded", "request"),
    "queue": ("max_queued_tasks", 0, 503, "queue_full", "service"),
    "store": ("min_free_bytes", 1 << 60, 507, "storage_full", "service"),
}


@pytest.mark.parametrize("limit_name", LIMITS)
async def test_stored_result_is_reused_when_new_work_is_refused(deps: Deps, tmp_path: Path, limit_name: str) -> None:
    limit, value, status, code, fault = LIMITS[limit_name]
    async with open_limited_api(deps, tmp_path) as (limited_deps, client):
        video = await upload_video(client)
        await api_client.publish_next_task(limited_deps, api_client.make_result([b"one"]))
        object.__setattr__(limited_deps.limits, limit, value)
        path, key = f"/v1/videos/{video['id']}/extractions", {"Idempotency-Key": "again"}
        new = {"spec": {"sample": {"mode": "all"}}}
        assert_refused(await client.post(path, json=new, headers=key), status, code, fault)
        # The refused call did not use its key up.
        reused = await client.post(path, json={}, headers=key)
        assert (reused.status_code, reused.json()["status"], reused.json()["reused"]) == (201, "succeeded", True)
        repeated = await client.post(path, json={}, headers=key)
        assert (repeated.status_code, repeated.content) == (201, reused.content)
        shown = (await client.get(f"/v1/extractions/{reused.json()['id']}")).json()
        assert (shown["status"], shown["result"]["frames"]) == ("succeeded", 1)


async def test_retry_reuses_a_stored_result_past_the_quota(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path) as (limited_deps, client):
        video = await upload_video(client)
        await client.post(f"/v1/extractions/{video['extraction']['id']}/cancel")
        await client.post(f"/v1/videos/{video['id']}/extractions", json={})
        await api_client.publish_next_task(limited_deps, api_client.make_result([b"one"]))
        object.__setattr__(limited_deps.limits, "quotas", Quotas(waiting=0))
        retried = await client.post(f"/v1/extractions/{video['extraction']['id']}/retry")
        assert (retried.status_code, retried.json()["reused"]) == (201, True)

"""Quotas of an account: what counts, and that concurrent requests cannot exceed them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from db.acceptance.quotas import Quotas
from serve_app.deps import Deps
from tests.support.api_client import MP4, stored_state, upload_video, upload_videos
from tests.support.limited_api import assert_refused, open_limited_api, send_unread


async def test_fifty_concurrent_requests_never_exceed_a_quota(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(waiting=5, stored_bytes=4 * len(MP4))) as (made, client):
        answers = await asyncio.gather(*(upload_videos(client, (f"{n}.mp4", MP4)) for n in range(50)))
        assert sorted({answer.status_code for answer in answers}) == [201, 429]
        assert sum(answer.status_code == 201 for answer in answers) == 4
        videos, reservations, keys = await stored_state(made.database, made.objects)
        assert (videos, reservations, len(keys)) == (4, 0, 4)


async def test_every_file_of_a_request_counts_for_the_quota(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(waiting=2)) as (made, client):
        three = [(f"{n}.mp4", MP4) for n in range(3)]
        assert_refused(await upload_videos(client, *three), 429, "too_many_waiting", "request")
        assert await stored_state(made.database, made.objects) == (0, 0, [])
        assert (await upload_videos(client, *three[:2])).status_code == 201


async def test_new_extractions_and_retries_count_as_waiting(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(waiting=2)) as (_, client):
        one = await upload_video(client)
        two = await upload_video(client, "b.mp4")
        spec = {"spec": {"sample": {"mode": "all"}}}
        again = await client.post(f"/v1/videos/{one['id']}/extractions", json=spec)
        assert_refused(again, 429, "too_many_waiting", "request")
        await client.post(f"/v1/extractions/{two['extraction']['id']}/cancel")
        assert (await client.post(f"/v1/extractions/{two['extraction']['id']}/retry")).status_code == 201
        assert_refused(
            await client.post(f"/v1/extractions/{two['extraction']['id']}/retry"), 429, "too_many_waiting", "request"
        )


async def test_declared_length_counts_for_the_stored_bytes_quota(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(stored_bytes=1_000_000)) as (_, client):
        await upload_video(client)
        assert_refused(await send_unread(client, 2_500_000), 429, "quota_exceeded", "request")


async def test_account_shows_quotas_and_usage(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(waiting=7)) as (_, client):
        await upload_video(client)
        shown = (await client.get("/v1/me")).json()
        assert shown["quotas"] == {"waiting": 7, "stored_bytes": None}
        assert shown["use"] == {"videos": 1, "waiting": 1, "stored_bytes": len(MP4)}

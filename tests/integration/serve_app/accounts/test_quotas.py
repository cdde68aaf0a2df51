"""Quotas of an account: what counts, and that concurrent requests cannot exceed them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cluster.wiring import api as wiring
from db.acceptance import quotas
from db.acceptance.quotas import Quotas
from db.queue import task_queue
from db.values.segment import Segment
from serve_app.deps import Deps
from tests.support.clients import tus_client
from tests.support.clients.api_client import (
    MEDIA,
    MP4,
    SECRET,
    make_result,
    publish_next_task,
    stored_state,
    upload_video,
    upload_videos,
)
from tests.support.clients.limited_api import assert_refused, open_limited_api, send_unread
from tests.support.state import database_rows


async def test_fifty_concurrent_requests_never_exceed_a_quota(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(waiting=5, stored_bytes=4 * len(MP4))) as (
        limited_deps,
        client,
    ):
        answers = await asyncio.gather(*(upload_videos(client, (f"{n}.mp4", MP4)) for n in range(50)))
        assert sorted({answer.status_code for answer in answers}) == [201, 429]
        assert sum(answer.status_code == 201 for answer in answers) == 4
        videos, reservations, keys = await stored_state(limited_deps.database, limited_deps.objects)
        assert (videos, reservations, len(keys)) == (4, 0, 4)


async def test_every_file_of_a_request_counts_for_the_quota(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(waiting=2)) as (limited_deps, client):
        three = [(f"{n}.mp4", MP4) for n in range(3)]
        assert_refused(await upload_videos(client, *three), 429, "too_many_waiting", "request")
        assert await stored_state(limited_deps.database, limited_deps.objects) == (0, 0, [])
        assert (await upload_videos(client, *three[:2])).status_code == 201


async def test_new_extractions_and_retries_count_as_waiting(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(waiting=2)) as (_, client):
        first = await upload_video(client)
        second = await upload_video(client, "b.mp4")
        spec = {"spec": {"sample": {"mode": "all"}}}
        again = await client.post(f"/v1/videos/{first['id']}/extractions", json=spec)
        assert_refused(again, 429, "too_many_waiting", "request")
        await client.post(f"/v1/extractions/{second['extraction']['id']}/cancel")
        assert (await client.post(f"/v1/extractions/{second['extraction']['id']}/retry")).status_code == 201
        assert_refused(
            await client.post(f"/v1/extractions/{second['extraction']['id']}/retry"), 429, "too_many_waiting", "request"
        )


async def test_declared_length_counts_for_the_stored_bytes_quota(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(stored_bytes=1_000_000)) as (_, client):
        await upload_video(client)
        assert_refused(await send_unread(client, 2_500_000), 429, "quota_exceeded", "request")


async def test_account_shows_quotas_and_usage(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, quotas=Quotas(waiting=7)) as (_, client):
        await upload_video(client)
        shown = (await client.get("/v1/me")).json()
        assert shown["quotas"] == {"waiting": 7, "stored_bytes": None, "minutes_per_day": None}
        assert shown["use"] == {"videos": 1, "waiting": 1, "stored_bytes": len(MP4), "minutes_per_day": 0.0}


async def test_quotas_are_settings(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"DATABASE_URL": database_url, "OBJECTS_URL": f"file://{tmp_path}/objects", "SECRET_KEY": SECRET}
    limits = {"USER_WAITING_MAX": "3", "USER_STORED_BYTES_MAX": "4", "USER_MINUTES_PER_DAY": "5"}
    for name, value in (values | limits).items():
        monkeypatch.setenv(f"FOTOGRAMA_{name}", value)
    monkeypatch.setattr(wiring, "log_as_json", lambda: None)
    async with wiring.open_api() as deps:
        assert deps.limits.quotas == Quotas(waiting=3, stored_bytes=4, minutes_per_day=5)


class TestMinutesPerDay:
    """The quota of minutes of video that are extracted in 24 hours."""

    async def test_account_over_its_minutes_waits_until_enough_of_the_oldest_are_a_day_old(
        self, deps: Deps, tmp_path: Path
    ) -> None:
        async with open_limited_api(deps, tmp_path, quotas=Quotas(minutes_per_day=3)) as (limited_deps, client):
            videos = [await upload_video(client, f"{n}.mp4") for n in range(3)]
            # Without the first video the sum is 210 seconds, without the first two it is 90.
            for seconds, hours_ago in ((150, 23), (120, 22), (90, 1)):
                await plan_and_publish(limited_deps, seconds=seconds, hours_ago=hours_ago)
            body, path = {"spec": {"sample": {"mode": "all"}}}, f"/v1/videos/{videos[0]['id']}/extractions"
            for refused in (
                await send_unread(client),
                await client.post(path, json=body),
                await tus_client.create(client, len(MP4)),
            ):
                wait = assert_refused(refused, 429, "minutes_exceeded", "request")
                assert 2 * 3600 - 300 < wait <= 2 * 3600
            assert (await client.get("/v1/me")).json()["use"]["minutes_per_day"] == 6.0

    async def test_minutes_of_the_day_before_and_of_other_accounts_do_not_count(
        self, deps: Deps, tmp_path: Path
    ) -> None:
        async with open_limited_api(deps, tmp_path, quotas=Quotas(minutes_per_day=1)) as (limited_deps, client):
            await upload_video(client)
            await plan_and_publish(limited_deps, seconds=3600, hours_ago=24.1)
            await database_rows.accept_video(deps.database)
            await plan_and_publish(limited_deps, seconds=3600)
            await upload_video(client)
            await plan_and_publish(limited_deps, seconds=59)
            assert (await client.get("/v1/me")).json()["use"]["minutes_per_day"] == 0.98
            assert (await upload_videos(client, ("a.mp4", MP4))).status_code == 201
            assert await quotas.forget_planned(deps.database) == 1

    async def test_new_extraction_counts_again_and_a_reused_result_or_a_second_try_does_not(
        self, ana: httpx.AsyncClient, deps: Deps
    ) -> None:
        path = f"/v1/videos/{(await upload_video(ana))['id']}/extractions"
        (claim,) = await task_queue.claim(deps.database, worker="w")
        await task_queue.plan(deps.database, claim.lease, media=MEDIA | {"duration": 60.0}, frames_total=1)
        await task_queue.release(deps.database, claim.lease)
        await plan_and_publish(deps, seconds=60)
        assert (await ana.post(path, json={})).json()["reused"]
        assert (await ana.get("/v1/me")).json()["use"]["minutes_per_day"] == 1.0
        again = await ana.post(path, json={"spec": {"sample": {"mode": "all"}}})
        assert not again.json()["reused"]
        await plan_and_publish(deps, seconds=60)
        assert (await ana.get("/v1/me")).json()["use"]["minutes_per_day"] == 2.0

    async def test_split_extraction_counts_once(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        await upload_video(ana)
        (claim,) = await task_queue.claim(deps.database, worker="w")
        await task_queue.split(
            deps.database,
            claim.lease,
            media=MEDIA | {"duration": 90.0},
            frames_total=6,
            plan_key="p",
            segments=[Segment(0, 0, 3, 1), Segment(1, 3, 6, 1)],
        )
        assert (await ana.get("/v1/me")).json()["use"]["minutes_per_day"] == 1.5

    async def test_deletion_gives_no_minutes_back(self, deps: Deps, tmp_path: Path) -> None:
        async with open_limited_api(deps, tmp_path, quotas=Quotas(minutes_per_day=1)) as (limited_deps, client):
            video = await upload_video(client)
            await plan_and_publish(limited_deps, seconds=60)
            assert (await client.delete(f"/v1/videos/{video['id']}")).status_code == 204
            assert_refused(await upload_videos(client, ("a.mp4", MP4)), 429, "minutes_exceeded", "request")

    async def test_waiting_extraction_of_a_video_of_known_duration_counts_from_its_creation(
        self, deps: Deps, tmp_path: Path
    ) -> None:
        async with open_limited_api(deps, tmp_path, quotas=Quotas(minutes_per_day=2)) as (limited_deps, client):
            path = f"/v1/videos/{(await upload_video(client))['id']}/extractions"
            await plan_and_publish(limited_deps, seconds=70)
            again = await client.post(path, json={"spec": {"sample": {"mode": "all"}}})
            assert again.status_code == 201
            assert (await client.get("/v1/me")).json()["use"]["minutes_per_day"] == 2.33
            for refused in (
                await send_unread(client),
                await client.post(path, json={"spec": {"sample": {"mode": "keyframes"}}}),
                await tus_client.create(client, len(MP4)),
            ):
                wait = assert_refused(refused, 429, "minutes_exceeded", "request")
                assert 24 * 3600 - 300 < wait <= 24 * 3600
            await client.post(f"/v1/extractions/{again.json()['id']}/cancel")
            assert (await client.get("/v1/me")).json()["use"]["minutes_per_day"] == 1.17
            assert (await tus_client.create(client, len(MP4))).status_code == 201

    async def test_planned_extraction_that_still_runs_counts_once(self, ana: httpx.AsyncClient, deps: Deps) -> None:
        await upload_video(ana)
        (claim,) = await task_queue.claim(deps.database, worker="w")
        await task_queue.plan(deps.database, claim.lease, media=MEDIA | {"duration": 60.0}, frames_total=1)
        assert (await ana.get("/v1/me")).json()["use"]["minutes_per_day"] == 1.0

    async def test_video_of_unknown_duration_counts_as_a_minute_until_it_is_planned(
        self, deps: Deps, tmp_path: Path
    ) -> None:
        async with open_limited_api(deps, tmp_path, quotas=Quotas(minutes_per_day=3)) as (limited_deps, client):
            await upload_video(client)
            await tus_client.open_upload(client, len(MP4))
            # Each file of a request must find the account below its minutes.
            two = await upload_videos(client, ("b.mp4", MP4), ("c.mp4", MP4))
            assert_refused(two, 429, "too_many_waiting", "request")
            await upload_video(client, "b.mp4")
            for refused in (await send_unread(client), await tus_client.create(client, len(MP4))):
                assert assert_refused(refused, 429, "too_many_waiting", "request") == quotas.WAITING_RETRY_SECONDS
            await plan_and_publish(limited_deps, seconds=5)
            assert (await upload_videos(client, ("c.mp4", MP4))).status_code == 201
            assert_refused(await send_unread(client), 429, "too_many_waiting", "request")
            await plan_and_publish(limited_deps, seconds=3600)
            assert_refused(await send_unread(client), 429, "minutes_exceeded", "request")

    async def test_concurrent_requests_share_the_bound_of_unknown_durations(self, deps: Deps, tmp_path: Path) -> None:
        async with open_limited_api(deps, tmp_path, quotas=Quotas(minutes_per_day=4)) as (_, client):
            answers = await asyncio.gather(*(upload_videos(client, (f"{n}.mp4", MP4)) for n in range(20)))
            assert sorted(answer.status_code for answer in answers) == [201] * 4 + [429] * 16

    async def test_upload_by_tus_is_checked_at_its_creation_alone(self, deps: Deps, tmp_path: Path) -> None:
        async with open_limited_api(deps, tmp_path, quotas=Quotas(minutes_per_day=3)) as (limited_deps, client):
            with_length, deferred = (
                await tus_client.open_upload(client, len(MP4)),
                await tus_client.open_upload(client, None),
            )
            await upload_video(client)
            await plan_and_publish(limited_deps, seconds=180)
            assert (await tus_client.patch(client, with_length, 0, MP4)).status_code == 204
            last = await tus_client.patch(client, deferred, 0, MP4, {"Upload-Length": str(len(MP4))})
            assert "video-location" in last.headers

    async def test_request_that_was_admitted_before_the_minutes_were_used_up_is_refused_in_its_transaction(
        self, deps: Deps, tmp_path: Path
    ) -> None:
        async with open_limited_api(deps, tmp_path, quotas=Quotas(minutes_per_day=2)) as (limited_deps, client):
            await upload_video(client)

            async def body() -> AsyncIterator[bytes]:
                await plan_and_publish(limited_deps, seconds=120)
                yield multipart_body("late.mp4", MP4)

            headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(20_000)}
            refused = await client.post("/v1/videos", content=body(), headers=headers)
            assert_refused(refused, 429, "minutes_exceeded", "request")
            assert (await stored_state(limited_deps.database, limited_deps.objects))[:2] == (1, 0)


async def plan_and_publish(deps: Deps, *, seconds: float, hours_ago: float = 0) -> None:
    """Plans and publishes the next task: its video has this duration, and was planned this long ago."""
    extraction_id = await publish_next_task(deps, make_result([b"one"]), MEDIA | {"duration": seconds})
    await database_rows.execute(
        deps.database,
        "UPDATE planned_durations SET planned_at = planned_at - make_interval(secs => :seconds)"
        " WHERE extraction_id = :id",
        seconds=hours_ago * 3600,
        id=extraction_id,
    )


def multipart_body(filename: str, content: bytes) -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
    return head.encode() + content + b"\r\n--b--\r\n"

"""What is refused before its body is read, what passes every limit, and what a refusal leaves: nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.acceptance import idempotency_keys, quotas
from db.acceptance.idempotency_keys import OwnedKey, StoredResponse
from db.acceptance.quotas import Quotas
from db.cache import Cache, open_cache
from db.object_store.folder_store import FolderStore
from db.values.error_catalogue import CatalogueError
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.security.rate_limit import RateLimit
from serve_app.submission.admission_control import AdmissionControl
from tests.support import api_client
from tests.support.api_client import MP4, stored_state, upload_video, upload_videos

ONCE = RateLimit(burst=1, refill_seconds=3600)


@asynccontextmanager
async def limited(deps: Deps, tmp_path: Path, *, cache: Cache | None = None, **limits: Any) -> AsyncIterator[Any]:
    """Deps with these limits, and somebody logged in."""
    made = api_client.make_deps(
        deps.database, tmp_path / "objects", cache or deps.cache, limits=api_client.make_limits(**limits)
    )
    async with api_client.open_client(create_app(made)) as client:
        await api_client.log_in(client)
        yield made, client
    made.password_hasher.close()


class Unread:
    """A body that may not be read."""

    def __init__(self) -> None:
        self.read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.read = True
        yield b"x"


async def send_unread(client: httpx.AsyncClient, size: int = 1000) -> httpx.Response:
    body = Unread()
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(size)}
    answer = await client.post("/v1/videos", content=body, headers=headers)
    assert not body.read
    return answer


def refused(answer: httpx.Response, status: int, code: str, fault: str) -> int:
    """Seconds to wait."""
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["fault"]) == (status, code, fault), answer.text
    assert problem["remedy"]
    seconds = int(answer.headers["retry-after"])
    assert seconds >= 1
    return seconds


async def test_request_above_the_rate_is_refused_unread_and_stores_nothing(deps: Deps, tmp_path: Path) -> None:
    async with limited(deps, tmp_path, rate=ONCE) as (made, client):
        await upload_video(client)
        before = await stored_state(made.database, made.objects)
        assert refused(await send_unread(client), 429, "too_many_requests", "request") > 3000
        assert await stored_state(made.database, made.objects) == before
        again = await client.post(f"/v1/videos/{uuid4()}/extractions", json={})
        refused(again, 429, "too_many_requests", "request")


async def test_rate_is_shared_by_replicas_and_counted_per_user(deps: Deps, patient: None, redis_url: str) -> None:
    caches = [open_cache(redis_url), open_cache(redis_url)]
    one, two = (
        AdmissionControl(deps.database, cache, deps.objects, api_client.make_limits(rate=RateLimit(3, 3600)))
        for cache in caches
    )
    user = uuid4()
    taken = 0
    for admission in (one, two) * 10:
        with suppress(CatalogueError):
            await admission.check_rate(user)
            taken += 1
    assert taken == 3
    await one.check_rate(uuid4())
    for cache in caches:
        await cache.close()


async def test_without_redis_each_replica_limits_the_rate(deps: Deps) -> None:
    admission = AdmissionControl(
        deps.database, Cache(None), deps.objects, api_client.make_limits(rate=RateLimit(3, 3600))
    )
    user = uuid4()
    tries = await asyncio.gather(*(admission.check_rate(user) for _ in range(10)), return_exceptions=True)
    assert tries.count(None) == 3


async def test_redis_outage_gives_no_second_burst(deps: Deps, redis_url: str) -> None:
    redis = Redis.from_url(redis_url)
    cache = Cache(redis)
    admission = AdmissionControl(deps.database, cache, deps.objects, api_client.make_limits(rate=RateLimit(3, 3600)))
    user = uuid4()
    for _ in range(2):
        await admission.check_rate(user)
    admission.cache = Cache(None)
    tries = await asyncio.gather(*(admission.check_rate(user) for _ in range(10)), return_exceptions=True)
    assert tries.count(None) == 1
    await cache.close()


async def test_repeated_idempotent_request_is_answered_past_every_limit(deps: Deps, tmp_path: Path) -> None:
    full: dict[str, Any] = {"rate": ONCE, "quotas": Quotas(1, len(MP4)), "max_queued_tasks": 1}
    async with limited(deps, tmp_path, **full) as (made, client):
        key = {"Idempotency-Key": "one"}
        first = await upload_videos(client, ("a.mp4", MP4), headers=key)
        assert first.status_code == 201
        for bodies in (0, 64):
            object.__setattr__(made.limits, "max_concurrent_uploads", bodies)
            again = await upload_videos(client, ("a.mp4", MP4), headers=key)
            assert (again.status_code, again.content) == (201, first.content)
            assert again.headers["idempotency-replayed"] == "true"
        refused(
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

    async with limited(deps, tmp_path, rate=RateLimit(burst=2, refill_seconds=3600)) as (_, client):
        video = await upload_video(client)
        extraction_id = video["extraction"]["id"]
        await client.post(f"/v1/extractions/{extraction_id}/cancel")
        path, key = route.format(video=video["id"], extraction=extraction_id), {"Idempotency-Key": "one"}
        first = await client.post(path, json={}, headers=key)
        assert first.status_code == 201
        monkeypatch.setattr(idempotency_keys, "find_response", expire_after_look_up)
        again = await client.post(path, json={}, headers=key)
        assert (again.status_code, again.content) == (201, first.content)
        refused(await client.post(path, json={}, headers=key), 429, "too_many_requests", "request")


async def test_refused_request_leaves_its_idempotency_key_unused(deps: Deps, tmp_path: Path) -> None:
    async with limited(deps, tmp_path, quotas=Quotas(waiting=1)) as (_, client):
        video = await upload_video(client)
        key = {"Idempotency-Key": "later"}
        refused(await upload_videos(client, ("b.mp4", MP4), headers=key), 429, "too_many_waiting", "request")
        await client.post(f"/v1/extractions/{video['extraction']['id']}/cancel")
        assert (await upload_videos(client, ("b.mp4", MP4), headers=key)).status_code == 201


async def test_idempotency_in_progress_is_answered_before_any_limit(deps: Deps, tmp_path: Path) -> None:
    async with limited(deps, tmp_path, rate=RateLimit(1, 3600)) as (_, client):
        begun, end = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
            yield head + MP4
            begun.set()
            await end.wait()
            yield b"\r\n--b--\r\n"

        headers = {"Idempotency-Key": "k", "Content-Type": "multipart/form-data; boundary=b"}
        first = asyncio.create_task(client.post("/v1/videos", content=slow(), headers=headers))
        await begun.wait()
        refused(
            await upload_videos(client, ("a.mp4", MP4), headers={"Idempotency-Key": "k"}),
            409,
            "idempotency_in_progress",
            "request",
        )
        end.set()
        assert (await first).status_code == 201


async def test_fifty_concurrent_requests_never_exceed_a_quota(deps: Deps, tmp_path: Path) -> None:
    async with limited(deps, tmp_path, quotas=Quotas(waiting=5, stored_bytes=4 * len(MP4))) as (made, client):
        answers = await asyncio.gather(*(upload_videos(client, (f"{n}.mp4", MP4)) for n in range(50)))
        assert sorted({answer.status_code for answer in answers}) == [201, 429]
        assert sum(answer.status_code == 201 for answer in answers) == 4
        videos, reservations, keys = await stored_state(made.database, made.objects)
        assert (videos, reservations, len(keys)) == (4, 0, 4)


async def test_every_file_of_a_request_counts_for_the_quota(deps: Deps, tmp_path: Path) -> None:
    async with limited(deps, tmp_path, quotas=Quotas(waiting=2)) as (made, client):
        three = [(f"{n}.mp4", MP4) for n in range(3)]
        refused(await upload_videos(client, *three), 429, "too_many_waiting", "request")
        assert await stored_state(made.database, made.objects) == (0, 0, [])
        assert (await upload_videos(client, *three[:2])).status_code == 201


async def test_new_extractions_and_retries_count_as_waiting(deps: Deps, tmp_path: Path) -> None:
    async with limited(deps, tmp_path, quotas=Quotas(waiting=2)) as (_, client):
        one = await upload_video(client)
        two = await upload_video(client, "b.mp4")
        spec = {"spec": {"sample": {"mode": "all"}}}
        again = await client.post(f"/v1/videos/{one['id']}/extractions", json=spec)
        refused(again, 429, "too_many_waiting", "request")
        await client.post(f"/v1/extractions/{two['extraction']['id']}/cancel")
        assert (await client.post(f"/v1/extractions/{two['extraction']['id']}/retry")).status_code == 201
        refused(
            await client.post(f"/v1/extractions/{two['extraction']['id']}/retry"), 429, "too_many_waiting", "request"
        )


FULL: dict[str, tuple[str, Any, int, str, str]] = {
    "waiting": ("quotas", Quotas(waiting=0), 429, "too_many_waiting", "request"),
    "stored bytes": ("quotas", Quotas(stored_bytes=1), 429, "quota_exceeded", "request"),
    "queue": ("max_queued_tasks", 0, 503, "queue_full", "service"),
    "store": ("min_free_bytes", 1 << 60, 507, "storage_full", "service"),
}


@pytest.mark.parametrize("full", FULL)
async def test_stored_result_is_reused_when_new_work_is_refused(deps: Deps, tmp_path: Path, full: str) -> None:
    limit, value, status, code, fault = FULL[full]
    async with limited(deps, tmp_path) as (made, client):
        video = await upload_video(client)
        await api_client.publish_next_task(made, api_client.make_result([b"one"]))
        object.__setattr__(made.limits, limit, value)
        path, key = f"/v1/videos/{video['id']}/extractions", {"Idempotency-Key": "again"}
        new = {"spec": {"sample": {"mode": "all"}}}
        refused(await client.post(path, json=new, headers=key), status, code, fault)
        # The refused call left its key free.
        reused = await client.post(path, json={}, headers=key)
        assert (reused.status_code, reused.json()["status"], reused.json()["reused"]) == (201, "succeeded", True)
        repeated = await client.post(path, json={}, headers=key)
        assert (repeated.status_code, repeated.content) == (201, reused.content)
        shown = (await client.get(f"/v1/extractions/{reused.json()['id']}")).json()
        assert (shown["status"], shown["result"]["frames"]) == ("succeeded", 1)


async def test_retry_reuses_a_stored_result_past_the_quota(deps: Deps, tmp_path: Path) -> None:
    async with limited(deps, tmp_path) as (made, client):
        video = await upload_video(client)
        await client.post(f"/v1/extractions/{video['extraction']['id']}/cancel")
        await client.post(f"/v1/videos/{video['id']}/extractions", json={})
        await api_client.publish_next_task(made, api_client.make_result([b"one"]))
        object.__setattr__(made.limits, "quotas", Quotas(waiting=0))
        retried = await client.post(f"/v1/extractions/{video['extraction']['id']}/retry")
        assert (retried.status_code, retried.json()["reused"]) == (201, True)


async def test_declared_length_counts_for_the_stored_bytes_quota(deps: Deps, tmp_path: Path) -> None:
    async with limited(deps, tmp_path, quotas=Quotas(stored_bytes=1_000_000)) as (_, client):
        await upload_video(client)
        refused(await send_unread(client, 2_500_000), 429, "quota_exceeded", "request")


async def test_full_queue_refuses_uploads(deps: Deps, tmp_path: Path) -> None:
    async with limited(deps, tmp_path, max_queued_tasks=2) as (made, client):
        await upload_videos(client, ("a.mp4", MP4), ("b.mp4", MP4))
        made.admission._depth_expires_at = 0
        refused(await send_unread(client), 503, "queue_full", "service")


async def test_queue_depth_is_counted_at_max_once_per_second(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, now = 0, 100.0
    count = quotas.queue_depth

    async def depth(database: AsyncEngine, most: int) -> int:
        nonlocal counted
        counted += 1
        return await count(database, most)

    monkeypatch.setattr(quotas, "queue_depth", depth)
    admission = AdmissionControl(deps.database, deps.cache, deps.objects, api_client.make_limits(), clock=lambda: now)
    await asyncio.gather(*(admission.check_capacity(uuid4()) for _ in range(20)))
    assert counted == 1
    now += 1.0
    await admission.check_capacity(uuid4())
    assert counted == 2


async def test_upload_below_the_disk_reserve_is_refused(deps: Deps, tmp_path: Path) -> None:
    free = await deps.objects.free_bytes()
    assert free is not None
    async with limited(deps, tmp_path, min_free_bytes=free * 2) as (_, client):
        refused(await send_unread(client), 507, "storage_full", "service")


@pytest.mark.parametrize("keyed", [False, True])
async def test_concurrent_uploads_never_use_the_disk_reserve(deps: Deps, tmp_path: Path, keyed: bool) -> None:
    free, size, tries = await deps.objects.free_bytes(), 1 << 30, 6
    assert free is not None
    read, end, decided = 0, asyncio.Event(), asyncio.Semaphore(0)

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        decided.release()
        await end.wait()
        yield b"no multipart"

    async def try_(n: int) -> int:
        headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(size)}
        headers |= {"Idempotency-Key": f"{n}"} if keyed else {}
        answer = await client.post("/v1/videos", content=body(), headers=headers)
        decided.release()
        return answer.status_code

    made = api_client.make_deps(
        deps.database,
        tmp_path / "objects",
        deps.cache,
        limits=api_client.make_limits(min_free_bytes=free - int(2.5 * size)),
        request_max_bytes=size,
    )
    async with api_client.open_client(create_app(made)) as client, asyncio.timeout(60):
        await api_client.log_in(client)
        for _ in range(2):  # what is refused or has ended is given back
            read = 0
            end.clear()
            calls = [asyncio.create_task(try_(n)) for n in range(tries)]
            for _ in calls:
                await decided.acquire()
            assert read == 2
            end.set()
            statuses = sorted(await asyncio.gather(*calls))
            assert statuses == [400, 400, 507, 507, 507, 507]
            for _ in range(2):
                await decided.acquire()
    made.password_hasher.close()


class MeasuredEarly(FolderStore):
    """Tells how much was free some time ago."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.measured, self.told = asyncio.Event(), asyncio.Event()

    async def free_bytes(self) -> int | None:
        free = await super().free_bytes()
        self.measured.set()
        await self.told.wait()
        return free


async def test_upload_that_ends_during_the_measurement_still_counts(deps: Deps, tmp_path: Path) -> None:
    free, size = await deps.objects.free_bytes(), 1 << 30
    assert free is not None
    store = MeasuredEarly(tmp_path / "objects")
    admission = AdmissionControl(
        deps.database, deps.cache, store, api_client.make_limits(min_free_bytes=free - int(1.5 * size))
    )
    store.told.set()
    async with admission.admit_upload(uuid4(), size):
        store.measured.clear()
        store.told.clear()
        second = asyncio.create_task(admission.admit_upload(uuid4(), size).__aenter__())
        await store.measured.wait()
    store.told.set()
    with pytest.raises(CatalogueError, match="storage_full"):
        await second
    async with admission.admit_upload(uuid4(), size):
        pass


async def test_concurrent_uploads_of_a_replica_are_bounded(deps: Deps, tmp_path: Path) -> None:
    async with limited(deps, tmp_path, max_concurrent_uploads=0) as (_, client):
        refused(await send_unread(client), 503, "busy", "service")


async def test_account_shows_quotas_and_usage(deps: Deps, tmp_path: Path) -> None:
    async with limited(deps, tmp_path, quotas=Quotas(waiting=7)) as (_, client):
        await upload_video(client)
        shown = (await client.get("/v1/me")).json()
        assert shown["quotas"] == {"waiting": 7, "stored_bytes": None}
        assert shown["use"] == {"videos": 1, "waiting": 1, "stored_bytes": len(MP4)}


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


async def test_queue_depth_is_read_from_an_index(database: AsyncEngine) -> None:
    async with database.begin() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        lines = (await connection.execute(text(f"EXPLAIN {quotas.QUEUE_DEPTH.text}"), {"max_count": 1000})).scalars()
        plan = "\n".join(lines)
    assert "Seq Scan" not in plan, plan

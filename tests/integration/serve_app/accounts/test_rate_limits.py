"""The request rate of a user, with and without Redis."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from redis.asyncio import Redis

from db.cache import Cache, open_cache
from db.values.error_catalogue import CatalogueError
from serve_app.deps import Deps
from serve_app.security.rate_limit import RateLimit
from serve_app.submission.admission_control import AdmissionControl
from tests.support.clients import api_client
from tests.support.clients.api_client import stored_state, upload_video
from tests.support.clients.limited_api import ONE_PER_HOUR, assert_refused, open_limited_api, send_unread


async def test_request_above_the_rate_is_refused_unread_and_stores_nothing(deps: Deps, tmp_path: Path) -> None:
    async with open_limited_api(deps, tmp_path, rate=ONE_PER_HOUR) as (limited_deps, client):
        await upload_video(client)
        before = await stored_state(limited_deps.database, limited_deps.objects)
        assert assert_refused(await send_unread(client), 429, "too_many_requests", "request") > 3000
        assert await stored_state(limited_deps.database, limited_deps.objects) == before
        again = await client.post(f"/v1/videos/{uuid4()}/extractions", json={})
        assert_refused(again, 429, "too_many_requests", "request")


async def test_rate_is_shared_by_replicas_and_counted_per_user(
    deps: Deps, long_redis_timeout: None, redis_url: str
) -> None:
    caches = [open_cache(redis_url), open_cache(redis_url)]
    first, second = (
        AdmissionControl(deps.database, cache, deps.objects, api_client.make_limits(rate=RateLimit(3, 3600)), 3600.0)
        for cache in caches
    )
    user = uuid4()
    admitted = 0
    for admission in (first, second) * 10:
        with suppress(CatalogueError):
            await admission.check_rate(user)
            admitted += 1
    assert admitted == 3
    await first.check_rate(uuid4())
    for cache in caches:
        await cache.close()


async def test_without_redis_each_replica_limits_the_rate(deps: Deps) -> None:
    admission = AdmissionControl(
        deps.database, Cache(None), deps.objects, api_client.make_limits(rate=RateLimit(3, 3600)), 3600.0
    )
    user = uuid4()
    tries = await asyncio.gather(*(admission.check_rate(user) for _ in range(10)), return_exceptions=True)
    assert tries.count(None) == 3


async def test_redis_outage_gives_no_second_burst(deps: Deps, redis_url: str) -> None:
    redis = Redis.from_url(redis_url)
    cache = Cache(redis)
    admission = AdmissionControl(
        deps.database, cache, deps.objects, api_client.make_limits(rate=RateLimit(3, 3600)), 3600.0
    )
    user = uuid4()
    for _ in range(2):
        await admission.check_rate(user)
    admission.cache = Cache(None)
    tries = await asyncio.gather(*(admission.check_rate(user) for _ in range(10)), return_exceptions=True)
    assert tries.count(None) == 1
    await cache.close()

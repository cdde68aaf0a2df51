"""Hints that a task is ready: no hint is lost, and without Redis workers are only slower."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from db.cache import PAUSE_SECONDS, TIMEOUT_SECONDS, Cache, open_cache


@pytest.fixture
async def cache(long_redis_timeout: None, redis_url: str) -> AsyncIterator[Cache]:
    client = open_cache(redis_url)
    yield client
    await client.close()


@pytest.fixture
async def other_client(long_redis_timeout: None, redis_url: str) -> AsyncIterator[Cache]:
    client = open_cache(redis_url)
    yield client
    await client.close()


async def measure_wait(cache: Cache, seconds: float) -> float:
    """Waits for a hint, at most this long; returns how long the wait was."""
    started = time.monotonic()
    await cache.wait_for_ready(seconds)
    return time.monotonic() - started


async def wait_for_delivery(other_client: Cache) -> None:
    """Waits until the server has sent all earlier hints: it handles this request after them."""
    assert await other_client.is_there()


async def test_hint_between_claim_and_wait_is_not_lost(cache: Cache, other_client: Cache) -> None:
    await cache.listen()
    await other_client.announce()
    assert await measure_wait(cache, 60) < 30


async def test_hint_between_two_waits_is_not_lost(cache: Cache, other_client: Cache) -> None:
    await cache.listen()
    await cache.wait_for_ready(0.05)
    await other_client.announce()
    assert await measure_wait(cache, 60) < 30


async def test_hint_from_before_the_claim_does_not_end_the_wait(cache: Cache, other_client: Cache) -> None:
    await cache.listen()
    for _ in range(100):
        await other_client.announce()
    await wait_for_delivery(other_client)
    await cache.listen()
    assert await measure_wait(cache, 0.3) >= 0.29


async def test_hint_ends_the_wait(cache: Cache, other_client: Cache) -> None:
    await cache.listen()
    waiting = asyncio.create_task(measure_wait(cache, 60))
    # One iteration of the event loop: the task runs until it waits for the socket.
    await asyncio.sleep(0)
    await other_client.announce()
    assert await waiting < 30


async def test_without_redis_a_wait_lasts_its_timeout() -> None:
    """The least of several: a busy machine delays some, a wait for Redis delays all."""
    calls, waits = list[float](), list[float]()
    for _ in range(5):
        unreachable = open_cache("redis://127.0.0.1:1/0")
        started = time.monotonic()
        await unreachable.listen()
        calls.append(time.monotonic() - started)
        waits.append(await measure_wait(unreachable, 0.2))
        await unreachable.close()
    assert min(calls) < TIMEOUT_SECONDS * 10
    assert 0.19 <= min(waits) < 1


async def test_broken_subscription_is_renewed_after_a_pause(other_client: Cache, redis_url: str) -> None:
    now = 0.0
    async with Redis.from_url(redis_url) as admin:
        cache = Cache(Redis.from_url(redis_url), clock=lambda: now)

        async def is_subscribed() -> bool:
            return dict(await admin.pubsub_numsub("fotograma:ready")) == {b"fotograma:ready": 1}

        await cache.listen()
        assert await is_subscribed()
        await admin.client_kill_filter(_type="pubsub", skipme=True)
        await wait_for_delivery(other_client)
        await cache.listen()
        # The client may have reconnected once before it gave up. The server counts a closed connection for a moment.
        async with asyncio.timeout(60):
            while await is_subscribed():
                pass
        await cache.listen()
        assert not await is_subscribed()
        now += PAUSE_SECONDS
        await cache.listen()
        assert await is_subscribed()
        await other_client.announce()
        assert await measure_wait(cache, 60) < 30
        await cache.close()

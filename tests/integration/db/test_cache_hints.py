"""Hints that a task is ready: no hint is lost, and without Redis workers are only slower."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from db.cache import PAUSE_SECONDS, TIMEOUT_SECONDS, Cache, open_cache


@pytest.fixture
async def cache(patient: None, redis_url: str) -> AsyncIterator[Cache]:
    made = open_cache(redis_url)
    yield made
    await made.close()


@pytest.fixture
async def other(patient: None, redis_url: str) -> AsyncIterator[Cache]:
    made = open_cache(redis_url)
    yield made
    await made.close()


async def waited(cache: Cache, seconds: float) -> float:
    began = time.monotonic()
    await cache.wait_for_ready(seconds)
    return time.monotonic() - began


async def delivered(other: Cache) -> None:
    """What the server had to say to anybody before is with them: it answers one turn of its loop after the other."""
    assert await other.is_there()


async def test_hint_between_claim_and_wait_is_not_lost(cache: Cache, other: Cache) -> None:
    await cache.listen()
    await other.announce()
    assert await waited(cache, 5) < 2


async def test_hint_between_two_waits_is_not_lost(cache: Cache, other: Cache) -> None:
    await cache.listen()
    await cache.wait_for_ready(0.05)
    await other.announce()
    assert await waited(cache, 5) < 2


async def test_hint_from_before_the_claim_does_not_end_the_wait(cache: Cache, other: Cache) -> None:
    await cache.listen()
    for _ in range(100):
        await other.announce()
    await delivered(other)
    await cache.listen()
    assert await waited(cache, 0.3) >= 0.29


async def test_hint_ends_the_wait(cache: Cache, other: Cache) -> None:
    await cache.listen()
    waiting = asyncio.create_task(waited(cache, 5))
    # One turn of the loop: it runs until it waits for the socket.
    await asyncio.sleep(0)
    await other.announce()
    assert await waiting < 2


async def test_without_redis_a_wait_lasts_its_timeout() -> None:
    away = open_cache("redis://127.0.0.1:1/0")
    began = time.monotonic()
    await away.listen()
    assert time.monotonic() - began < TIMEOUT_SECONDS * 10
    assert 0.19 <= await waited(away, 0.2) < 1
    await away.close()


async def test_broken_subscription_is_renewed_after_a_pause(other: Cache, redis_url: str) -> None:
    now = 0.0
    async with Redis.from_url(redis_url) as admin:
        cache = Cache(Redis.from_url(redis_url), clock=lambda: now)

        async def is_subscribed() -> bool:
            return dict(await admin.pubsub_numsub("fotograma:ready")) == {b"fotograma:ready": 1}

        await cache.listen()
        assert await is_subscribed()
        await admin.client_kill_filter(_type="pubsub", skipme=True)
        await delivered(other)
        await cache.listen()
        # The client may have connected once more before it gave up; the server counts a closed connection for a moment.
        async with asyncio.timeout(10):
            while await is_subscribed():
                pass
        await cache.listen()
        assert not await is_subscribed()
        now += PAUSE_SECONDS
        await cache.listen()
        assert await is_subscribed()
        await other.announce()
        assert await waited(cache, 5) < 2
        await cache.close()

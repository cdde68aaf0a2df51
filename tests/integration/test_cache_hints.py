"""Hints that a task is ready: none is lost while a worker looks, and Redis away only means slower."""

import asyncio
import time

import pytest

from db.cache import TIMEOUT_SECONDS, Cache, open_cache


@pytest.fixture
async def cache(redis_url):
    made = open_cache(redis_url)
    yield made
    await made.close()


@pytest.fixture
async def other(redis_url):
    made = open_cache(redis_url)
    yield made
    await made.close()


async def waited(cache: Cache, seconds: float) -> float:
    began = time.monotonic()
    await cache.wait_for_ready(seconds)
    return time.monotonic() - began


async def test_a_hint_between_looking_and_waiting_is_not_lost(cache, other):
    await cache.listen()
    await other.announce()
    assert await waited(cache, 5) < 2


async def test_the_gap_between_two_waits_is_covered_too(cache, other):
    await cache.listen()
    await cache.wait_for_ready(0.05)
    await other.announce()
    assert await waited(cache, 5) < 2


async def test_hints_from_before_looking_wake_nobody(cache, other):
    await cache.listen()
    for _ in range(100):
        await other.announce()
    await asyncio.sleep(0.1)
    await cache.listen()
    assert await waited(cache, 0.3) >= 0.29


async def test_a_hint_ends_a_wait(cache, other):
    await cache.listen()
    waiting = asyncio.create_task(waited(cache, 5))
    await asyncio.sleep(0.1)
    await other.announce()
    assert await waiting < 2


async def test_without_redis_a_wait_takes_its_time_and_no_longer():
    away = open_cache("redis://127.0.0.1:1/0")
    began = time.monotonic()
    await away.listen()
    assert time.monotonic() - began < TIMEOUT_SECONDS * 10
    assert 0.19 <= await waited(away, 0.2) < 1
    await away.close()


async def test_a_subscription_that_was_cut_is_made_anew(cache, other, redis_url):
    from redis.asyncio import Redis

    await cache.listen()
    async with Redis.from_url(redis_url) as admin:
        await admin.client_kill_filter(_type="pubsub", skipme=True)
    await asyncio.sleep(0.05)
    await cache.listen()
    await asyncio.sleep(1.1)
    await cache.listen()
    await other.announce()
    assert await waited(cache, 5) < 2

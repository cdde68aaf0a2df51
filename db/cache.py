"""The cache in Redis, which may be lost at any time: representations by version, and hints that a task is ready.

The cache never decides anything. A key names one version of one row, so an entry can't go back in time, and access is
checked in Postgres first. When Redis is away or slow, a request waits at most TIMEOUT_SECONDS; after that Redis is not
asked at all for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

TIMEOUT_SECONDS = 0.05
PAUSE_SECONDS = 1.0
LIVE_SECONDS = 2
ENDED_SECONDS = 3600
_READY = "fotograma:ready"

# The generic cell rate algorithm (ATM Forum TM 4.0). One number per key: when the full burst is allowed again.
_TAKE_TURN = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local next_free = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + ARGV[2]
local wait = next_free - ARGV[1] * ARGV[2] - now
if wait > 0 then return wait end
redis.call('SET', KEYS[1], string.format('%.0f', next_free), 'PX', math.ceil((next_free - now) / 1000) + 1)
return 0
"""

# One command for any number of entries: in a pipeline the client takes longer for 200 entries than for the rest of a
# page.
_PUT = """
for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[2 * i - 1], 'EX', ARGV[2 * i]) end
"""


class Cache:
    """A cache in Redis. While Redis is away, reads find nothing and writes do nothing."""

    def __init__(self, redis: Redis | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis, self._clock = redis, clock
        self._asleep_until = 0.0
        self._hints: PubSub | None = None

    async def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Returns the entries that exist, by key."""
        redis = self._awake()
        if redis is None or not keys:
            return {}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                values = await redis.mget(keys)
        except (RedisError, OSError, TimeoutError):
            self._sleep()
            return {}
        return {key: value for key, value in zip(keys, values, strict=True) if isinstance(value, bytes)}

    async def put(self, entries: Mapping[str, tuple[bytes, bool]]) -> None:
        """Stores representations. The flag says that a representation will not change any more."""
        redis = self._awake()
        if redis is None or not entries:
            return
        values = [
            part for value, ended in entries.values() for part in (value, ENDED_SECONDS if ended else LIVE_SECONDS)
        ]
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await redis.eval(_PUT, len(entries), *entries, *values)
        except (RedisError, OSError, TimeoutError):
            self._sleep()

    async def announce(self) -> None:
        """Hints to waiting workers that a task is ready. Workers also poll, so a lost hint costs only time."""
        redis = self._awake()
        if redis is None:
            return
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await redis.publish(_READY, b"")
        except (RedisError, OSError, TimeoutError):
            self._sleep()

    async def listen(self) -> None:
        """Collects the hints that arrive from now on, for `wait_for_ready`; drops earlier ones.

        A worker calls this before it looks for a task, so that it does not miss a hint that arrives while it looks. The
        subscription ends when Redis goes away; until Redis is back the worker only polls.
        """
        redis = self._awake()
        if redis is None:
            return
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if self._hints is None:
                    self._hints = redis.pubsub()
                    await self._hints.subscribe(_READY)
                    # Before the server has confirmed the subscription, a hint could be missed.
                    while await self._hints.get_message(timeout=TIMEOUT_SECONDS) is None:
                        pass
                while await self._hints.get_message(timeout=0) is not None:
                    pass
        except (RedisError, OSError, TimeoutError):
            await self._hear_no_more()

    async def wait_for_ready(self, seconds: float) -> None:
        """Waits at most `seconds` for a hint that arrived after `listen`."""
        ends = self._clock() + seconds
        if self._hints is not None:
            try:
                async with asyncio.timeout(seconds + TIMEOUT_SECONDS):
                    while (left := ends - self._clock()) > 0:
                        # A renewed subscription counts as a hint: hints may have been missed before it.
                        if await self._hints.get_message(timeout=left) is not None:
                            return
                    return
            except (RedisError, OSError, TimeoutError):
                # The call was cut short while it reconnected: it may be connected but not subscribed.
                await self._hear_no_more()
        await asyncio.sleep(max(0.0, ends - self._clock()))

    async def take_turn(self, key: str, burst: int, refill_seconds: float) -> float | None:
        """Counts an attempt of `key` against a rate limit, by Redis's own clock.

        Returns the seconds to wait, 0 when the attempt is allowed, or None when Redis does not answer.
        """
        redis = self._awake()
        if redis is None:
            return None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                micros = round(refill_seconds * 1e6)
                return int(await redis.eval(_TAKE_TURN, 1, f"fotograma:{key}", burst, micros)) / 1e6
        except (RedisError, OSError, TimeoutError):
            self._sleep()
            return None

    async def is_there(self) -> bool:
        """Returns whether Redis answers."""
        if self._redis is None:
            return False
        try:
            async with asyncio.timeout(1.0):
                return bool(await self._redis.ping())
        except (RedisError, OSError, TimeoutError):
            return False

    async def close(self) -> None:
        await self._drop_hints()
        if self._redis is not None:
            await self._redis.aclose()

    async def _hear_no_more(self) -> None:
        self._sleep()
        await self._drop_hints()

    async def _drop_hints(self) -> None:
        hints, self._hints = self._hints, None
        if hints is not None:
            with contextlib.suppress(RedisError, OSError):
                await hints.aclose()  # type: ignore[no-untyped-call]  # redis has no type for it

    def _awake(self) -> Redis | None:
        return None if self._clock() < self._asleep_until else self._redis

    def _sleep(self) -> None:
        self._asleep_until = self._clock() + PAUSE_SECONDS


def open_cache(url: str | None) -> Cache:
    """url: redis:// or unix://; None for no cache at all."""
    if not url:
        return Cache(None)
    return Cache(Redis.from_url(url, socket_connect_timeout=TIMEOUT_SECONDS * 2, decode_responses=False))

"""How often something may be tried: the generic cell rate algorithm, one number a key."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from db.values.error_catalogue import CatalogueError

MAX_KEYS = 50_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """burst: tries at once. refill_seconds: after that, one each so many seconds."""

    burst: int
    refill_seconds: float


@dataclass(frozen=True, slots=True)
class RateLimitDecision:
    """free_at: when all tries are there again, the state to keep. wait_seconds: 0 when this try is allowed."""

    free_at: float
    wait_seconds: float


def decide(rate: RateLimit, free_at: float, now: float) -> RateLimitDecision:
    """Whether a try at `now` is within the rate (ATM Forum TM 4.0, GCRA as virtual scheduling)."""
    next_free = max(free_at, now) + rate.refill_seconds
    wait = next_free - rate.burst * rate.refill_seconds - now
    return RateLimitDecision(free_at, wait) if wait > 1e-9 else RateLimitDecision(next_free, 0.0)


class RateLimiter:
    """One rate over many keys, in this process; the least recently tried are forgotten beyond `most_keys`."""

    def __init__(
        self, rate: RateLimit, *, clock: Callable[[], float] = time.monotonic, max_keys: int = MAX_KEYS
    ) -> None:
        self._rate, self._clock, self._most = rate, clock, max_keys
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str) -> None:
        """Counts a try. Raises CatalogueError `too_many_requests` with the seconds to wait."""
        now = self._clock()
        verdict = decide(self._rate, self._free_at.get(key, now), now)
        if verdict.wait_seconds:
            raise CatalogueError("too_many_requests", retry_after=math.ceil(verdict.wait_seconds))
        self._keep(key, verdict.free_at)

    def count(self, key: str) -> None:
        """Counts a try that another counter has allowed."""
        now = self._clock()
        self._keep(key, max(self._free_at.get(key, now), now) + self._rate.refill_seconds)

    def forget(self, key: str) -> None:
        """All tries are there again."""
        self._free_at.pop(key, None)

    def _keep(self, key: str, free_at: float) -> None:
        self._free_at[key] = free_at
        self._free_at.move_to_end(key)
        if len(self._free_at) > self._most:
            self._free_at.popitem(last=False)

"""Rate limiting by the generic cell rate algorithm (GCRA): one number for each key."""

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
    """burst: tries that may come at once. refill_seconds: time until one more try is allowed."""

    burst: int
    refill_seconds: float


@dataclass(frozen=True, slots=True)
class RateLimitDecision:
    """arrival: the theoretical arrival time (TAT), the state of a key. wait_seconds: 0 when the try is allowed."""

    arrival: float
    wait_seconds: float


def decide(rate: RateLimit, arrival: float, now: float) -> RateLimitDecision:
    """Whether a try at `now` is within the rate (ATM Forum TM 4.0, GCRA as virtual scheduling)."""
    next_arrival = max(arrival, now) + rate.refill_seconds
    wait = next_arrival - rate.burst * rate.refill_seconds - now
    return RateLimitDecision(arrival, wait) if wait > 1e-9 else RateLimitDecision(next_arrival, 0.0)


class RateLimiter:
    """One rate for many keys, in this process. Beyond `max_keys`, the least recently tried key is forgotten."""

    def __init__(
        self, rate: RateLimit, *, clock: Callable[[], float] = time.monotonic, max_keys: int = MAX_KEYS
    ) -> None:
        self._rate, self._clock, self._max_keys = rate, clock, max_keys
        self._arrivals: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str) -> None:
        """Counts a try. Raises CatalogueError `too_many_requests` with the seconds to wait."""
        now = self._clock()
        decision = decide(self._rate, self._arrivals.get(key, now), now)
        if decision.wait_seconds:
            raise CatalogueError("too_many_requests", retry_after=math.ceil(decision.wait_seconds))
        self._keep(key, decision.arrival)

    def count(self, key: str) -> None:
        """Counts a try that another limiter has allowed."""
        now = self._clock()
        self._keep(key, max(self._arrivals.get(key, now), now) + self._rate.refill_seconds)

    def reset(self, key: str) -> None:
        """Allows the whole burst again."""
        self._arrivals.pop(key, None)

    def _keep(self, key: str, arrival: float) -> None:
        self._arrivals[key] = arrival
        self._arrivals.move_to_end(key)
        if len(self._arrivals) > self._max_keys:
            self._arrivals.popitem(last=False)

"""Rate limits by token bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.values.error_catalogue import CatalogueError
from serve_app.security.rate_limit import RateLimit, RateLimiter, decide


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_burst_is_allowed_then_one_per_refill() -> None:
    clock = Clock()
    limiter = RateLimiter(RateLimit(burst=3, refill_seconds=10), clock=clock)
    for _ in range(3):
        limiter.take("a")
    with pytest.raises(CatalogueError) as refused:
        limiter.take("a")
    assert refused.value.code == "too_many_requests"
    assert refused.value.retry_after == 10
    clock.now += 10
    limiter.take("a")
    with pytest.raises(CatalogueError):
        limiter.take("a")


def test_keys_are_limited_separately_and_a_reset_key_starts_full() -> None:
    limiter = RateLimiter(RateLimit(burst=1, refill_seconds=10), clock=Clock())
    limiter.take("a")
    limiter.take("b")
    limiter.reset("a")
    limiter.take("a")


def test_number_of_remembered_keys_is_bounded() -> None:
    limiter = RateLimiter(RateLimit(burst=1, refill_seconds=10), clock=Clock(), max_keys=2)
    for key in "abc":
        limiter.take(key)
    limiter.take("a")


@given(
    burst=st.integers(1, 20),
    refill=st.floats(0.1, 60),
    gaps=st.lists(st.floats(0, 120), max_size=60),
)
def test_no_window_exceeds_burst_plus_refill(burst: int, refill: float, gaps: list[float]) -> None:
    rate, now, arrival, allowed = RateLimit(burst, refill), 0.0, 0.0, []
    for gap in gaps:
        now += gap
        decision = decide(rate, arrival, now)
        arrival = decision.arrival
        if not decision.wait_seconds:
            allowed.append(now)
    for i, start in enumerate(allowed):
        for count, end in enumerate(allowed[i:], 1):
            assert count <= burst + (end - start) / refill + 1e-6

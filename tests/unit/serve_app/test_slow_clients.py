"""A client that sends a body too slowly is refused; one that waits for the service is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from db.values.error_catalogue import CatalogueError
from serve_app.http.server import slow_clients
from serve_app.http.server.slow_clients import MIN_BYTES_PER_SECOND, SILENT_SECONDS, enforce_min_rate


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def received_bytes(blocks: Sequence[tuple[float, int]], *, reading_seconds: float = 0.0) -> int:
    """The number of received bytes; negative when the client was refused as too slow.

    blocks: for each block, the seconds before it and its bytes. reading_seconds: how long the service reads each one.
    """
    clock, count = Clock(), 0

    async def send() -> AsyncIterator[bytes]:
        for seconds, size in blocks:
            clock.now += seconds
            yield bytes(size)

    try:
        async for block in enforce_min_rate(send(), clock=clock):
            count += len(block)
            clock.now += reading_seconds
    except CatalogueError:
        return -count
    return count


async def test_client_that_trickles_single_bytes_is_refused_within_two_minutes() -> None:
    assert -3 < await received_bytes([(SILENT_SECONDS - 1, 1)] * 10) < 0


async def test_client_at_the_minimum_rate_may_send_for_any_time() -> None:
    assert await received_bytes([(10.0, 10 * MIN_BYTES_PER_SECOND)] * 10_000) == 100_000 * MIN_BYTES_PER_SECOND


async def test_client_just_below_the_minimum_rate_is_refused() -> None:
    assert await received_bytes([(10.0, 10 * MIN_BYTES_PER_SECOND - 1)] * 100) < 0


async def test_fast_start_does_not_excuse_a_slow_end() -> None:
    assert await received_bytes([(1.0, 1 << 30)] * 70 + [(SILENT_SECONDS - 1, 1)] * 10) < 0


async def test_time_that_the_service_needs_does_not_count_against_the_client() -> None:
    assert await received_bytes([(0.1, 1000)] * 100, reading_seconds=3600.0) == 100_000


async def test_client_that_sends_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "SILENT_SECONDS", 0.01)

    async def silent() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    # By this clock the first block takes no time, so that its rate is not too low.
    blocks = enforce_min_rate(silent(), clock=Clock())
    assert await anext(blocks) == b"first"
    with pytest.raises(CatalogueError, match="request_timeout"):
        await anext(blocks)

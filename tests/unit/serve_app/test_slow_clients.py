"""A client that sends a body too slowly is told so; one that waits for the service is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from db.values.error_catalogue import CatalogueError
from serve_app.http import slow_clients
from serve_app.http.slow_clients import MIN_BYTES_PER_SECOND, SILENT_SECONDS, enforce_min_rate


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def received(blocks: Sequence[tuple[float, int]], *, reading_seconds: float = 0.0) -> int:
    """How many bytes arrive of blocks that come after so many seconds each, negative when the client was too slow.

    reading_seconds: of the service.
    """
    clock, count = Clock(), 0

    async def sent() -> AsyncIterator[bytes]:
        for seconds, size in blocks:
            clock.now += seconds
            yield bytes(size)

    try:
        async for block in enforce_min_rate(sent(), clock=clock):
            count += len(block)
            clock.now += reading_seconds
    except CatalogueError:
        return -count
    return count


async def test_client_that_trickles_single_bytes_is_refused_within_two_minutes() -> None:
    assert -3 < await received([(SILENT_SECONDS - 1, 1)] * 10) < 0


async def test_client_just_above_the_least_rate_may_send_for_as_long_as_it_likes() -> None:
    assert await received([(10.0, 10 * MIN_BYTES_PER_SECOND)] * 10_000) == 100_000 * MIN_BYTES_PER_SECOND


async def test_client_just_below_the_least_rate_is_refused() -> None:
    assert await received([(10.0, 10 * MIN_BYTES_PER_SECOND - 1)] * 100) < 0


async def test_bytes_that_came_quickly_before_do_not_excuse_a_trickle() -> None:
    assert await received([(1.0, 1 << 30)] * 70 + [(SILENT_SECONDS - 1, 1)] * 10) < 0


async def test_time_that_the_service_needs_is_not_counted_against_the_client() -> None:
    assert await received([(0.1, 1000)] * 100, reading_seconds=3600.0) == 100_000


async def test_client_that_sends_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "SILENT_SECONDS", 0.01)

    async def silent() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    blocks = enforce_min_rate(silent())
    assert await anext(blocks) == b"first"
    with pytest.raises(CatalogueError, match="request_timeout"):
        await anext(blocks)

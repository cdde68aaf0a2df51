"""Concurrent calls that all wait inside their transactions before any of them continues."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

Call = Callable[[], Awaitable[object]]

# At the first lock, all calls wait before their first write. At the second lock, one call has locked its task already.
LOCKS = (
    "SELECT id FROM tasks WHERE extraction_id = :extraction_id ORDER BY id FOR UPDATE",
    "SELECT id FROM extractions WHERE id = :extraction_id FOR UPDATE",
)
WAITING_BACKENDS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
WAIT_SECONDS = 30.0
POLL_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class ConcurrentResults:
    """results: what each call returned or raised. overlapped: all were seen inside their transactions at once."""

    results: list[Any]
    overlapped: bool


async def run_concurrently(
    database: AsyncEngine,
    extraction_id: UUID,
    *calls: Call,
    pauses: Sequence[float],
    lock: str | None,
    first: int | None = None,
) -> ConcurrentResults:
    """Starts all calls at the same moment, each after its own short pause in seconds.

    lock: one of LOCKS, which is kept until all calls wait for it; None: no lock. first: the number of the call that
    waits for the lock before the others start; None: whichever comes first.
    """
    may_follow = asyncio.Event()
    if lock is None:
        may_follow.set()
        return ConcurrentResults(await _start_together(calls, pauses, first, may_follow), overlapped=False)
    async with database.connect() as holder, database.connect() as watcher:
        await holder.execute(text(lock), {"extraction_id": extraction_id})
        ends = asyncio.create_task(_start_together(calls, pauses, first, may_follow))
        if first is not None:
            await _wait_for_waiting(watcher, 1, ends)
        may_follow.set()
        overlapped = await _wait_for_waiting(watcher, len(calls), ends)
        await holder.rollback()
        return ConcurrentResults(await ends, overlapped)


async def _start_together(
    calls: Sequence[Call], pauses: Sequence[float], first: int | None, may_follow: asyncio.Event
) -> list[Any]:
    gate = asyncio.Barrier(len(calls))

    async def call_after_pause(number: int, call: Call, pause: float) -> object:
        await gate.wait()
        if first not in (None, number):
            await may_follow.wait()
        await asyncio.sleep(pause)
        return await call()

    waiting_calls = (
        call_after_pause(number, call, pause) for number, (call, pause) in enumerate(zip(calls, pauses, strict=True))
    )
    return await asyncio.gather(*waiting_calls, return_exceptions=True)


async def _wait_for_waiting(watcher: AsyncConnection, calls: int, ends: asyncio.Task[list[Any]]) -> bool:
    """Waits until this many calls wait for a lock; False when all calls end before."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not ends.done():
            waiting = (await watcher.execute(text(WAITING_BACKENDS))).scalar_one()
            # Within a transaction the view does not change after its first reading.
            await watcher.rollback()
            if waiting >= calls:
                return True
            await asyncio.sleep(POLL_SECONDS)
    return False

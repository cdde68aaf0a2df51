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

# At the first both wait before they have written anything, at the second one has its task already.
LOCKS = (
    "SELECT id FROM tasks WHERE extraction_id = :extraction_id ORDER BY id FOR UPDATE",
    "SELECT id FROM extractions WHERE id = :extraction_id FOR UPDATE",
)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
WAIT_SECONDS = 30.0
LOOK_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Met:
    """results: what each call gave, or its exception. overlapped: all were seen in their transactions at once."""

    results: list[Any]
    overlapped: bool


async def meet(
    database: AsyncEngine, extraction_id: UUID, *calls: Call, pauses: Sequence[float], lock: str | None
) -> Met:
    """Begins calls at one moment, each after its own short pause.

    lock: one of LOCKS, which is held until all of them wait; None: nothing holds them.
    """
    if lock is None:
        return Met(await _together(calls, pauses), overlapped=False)
    async with database.connect() as holder, database.connect() as watcher:
        await holder.execute(text(lock), {"extraction_id": extraction_id})
        ends = asyncio.create_task(_together(calls, pauses))
        overlapped = await _all_wait(watcher, len(calls), ends)
        await holder.rollback()
        return Met(await ends, overlapped)


async def _together(calls: Sequence[Call], pauses: Sequence[float]) -> list[Any]:
    gate = asyncio.Barrier(len(calls))

    async def one(call: Call, pause: float) -> object:
        await gate.wait()
        await asyncio.sleep(pause)
        return await call()

    waiting = (one(call, pause) for call, pause in zip(calls, pauses, strict=True))
    return await asyncio.gather(*waiting, return_exceptions=True)


async def _all_wait(watcher: AsyncConnection, calls: int, ends: asyncio.Task[list[Any]]) -> bool:
    """Whether so many came to wait for a lock, before any end."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not ends.done():
            waiting = (await watcher.execute(text(WAITING))).scalar_one()
            # The view is as of its first look in a transaction.
            await watcher.rollback()
            if waiting >= calls:
                return True
            await asyncio.sleep(LOOK_SECONDS)
    return False

"""A database with a function that runs after one of its transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class DisturbedDatabase:
    """A database that calls `disturb` after the COMMIT of its nth transaction."""

    def __init__(self, database: AsyncEngine, nth: int, disturb: Callable[[], Awaitable[None]]) -> None:
        self._database, self._transactions_left, self._disturb = database, nth, disturb

    def connect(self) -> AsyncConnection:
        return self._database.connect()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        async with self._database.begin() as connection:
            yield connection
        self._transactions_left -= 1
        if not self._transactions_left:
            await self._disturb()

"""Connections to PostgreSQL: how they are opened, and which errors mean that it is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 30
POOL_WAIT_SECONDS = 10
REPEAT_FIRST_SECONDS = 0.5
REPEAT_MOST_SECONDS = 15.0

T = TypeVar("T")


def database_url(url: str) -> URL:
    """Any postgres:// or postgresql:// address, for the psycopg driver."""
    return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")


def open_database(url: str, *, name: str, connections: int = 5) -> AsyncEngine:
    """An engine that connects at its first use. name: what the server's activity view shows."""
    return create_async_engine(
        database_url(url),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        # A connection that died with a restarted server is replaced before it is handed out.
        pool_pre_ping=True,
        # An error's text goes into logs: it tells the statement, and none of the values, secrets among them.
        hide_parameters=True,
        connect_args={
            "application_name": f"fotograma {name}",
            "connect_timeout": CONNECT_SECONDS,
            # An accepted video is on disk before it is answered, whatever the server's default is.
            "options": f"-c synchronous_commit=on -c statement_timeout={STATEMENT_SECONDS}s -c timezone=UTC",
        },
    )


def is_outage(error: BaseException) -> bool:
    """Whether the database was away, rather than asked something wrong."""
    if isinstance(error, InterfaceError | OperationalError | PoolTimeout):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


async def check(engine: AsyncEngine) -> None:
    """Raises when the database does not answer, or takes no writes."""
    async with engine.connect() as connection:
        if (await connection.execute(text("SELECT pg_is_in_recovery()"))).scalar():
            raise OperationalError("check", {}, RuntimeError("the database is read-only"))


async def insist(write: Callable[[], Awaitable[T]], *, most_seconds: float = REPEAT_MOST_SECONDS) -> T:
    """Repeats a write that must not be lost until the database takes it. Only for writes that are fenced.

    most_seconds: between two tries; of a lease's holder far less than the lease, which runs out meanwhile.
    """
    pause = REPEAT_FIRST_SECONDS
    while True:
        try:
            return await write()
        except Exception as error:
            if not is_outage(error):
                raise
        await asyncio.sleep(pause)
        pause = min(most_seconds, pause * 2)

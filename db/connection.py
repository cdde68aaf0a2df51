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
IDLE_IN_TRANSACTION_SECONDS = 15
"""A process that is frozen or cut off in a transaction holds its locks no longer than this."""
STATEMENT_SECONDS = 30
POOL_WAIT_SECONDS = 10
REPEAT_FIRST_SECONDS = 0.5
REPEAT_MAX_SECONDS = 15.0

# A server that vanished without a word is noticed in seconds: the statement timeout is the server's own.
_ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
_CHECK = text("""
    SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS read_only,
        extract(epoch FROM clock_timestamp()) AS seconds
""")
# SQLSTATEs: read only, as in a failover or with a full disk; ended while idle in a transaction.
_AWAY = frozenset({"25006", "25P03"})
# Cancelled at the statement timeout, deadlock, not serializable, lock not available.
_CONTENTION = frozenset({"57014", "40P01", "40001", "55P03"})

T = TypeVar("T")


def database_url(url: str) -> URL:
    """Any postgres:// or postgresql:// address, for the psycopg driver."""
    return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")


def open_database(url: str, *, name: str, connections: int = 5) -> AsyncEngine:
    """A database that is connected to at its first use. name: what the server's activity view shows."""
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
            **_ALIVE,
            # An accepted video is on disk before it is answered, whatever the server's default is.
            "options": f"-c synchronous_commit=on -c statement_timeout={STATEMENT_SECONDS}s "
            f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_SECONDS}s -c timezone=UTC",
        },
    )


def _state(error: DBAPIError) -> str | None:
    """Its SQLSTATE."""
    return getattr(error.orig, "sqlstate", None)


def is_outage(error: BaseException) -> bool:
    """Whether the database could not take it now, rather than was asked something wrong: the same may do later."""
    if isinstance(error, InterfaceError | OperationalError | PoolTimeout):
        return True
    return isinstance(error, DBAPIError) and (error.connection_invalidated or _state(error) in _AWAY)


def is_contention(error: BaseException) -> bool:
    """Whether the database is there, and others held what was asked for."""
    return isinstance(error, DBAPIError) and not error.connection_invalidated and _state(error) in _CONTENTION


async def check(database: AsyncEngine) -> float:
    """The server's clock, in seconds since the epoch. Raises when it does not answer, or takes no writes."""
    async with database.connect() as connection:
        row = (await connection.execute(_CHECK)).one()
    if row.read_only:
        raise OperationalError("check", {}, RuntimeError("the database is read-only"))
    return float(row.seconds)


async def retry_until_available(
    write: Callable[[], Awaitable[T]],
    *,
    max_seconds: float = REPEAT_MAX_SECONDS,
    beat: Callable[[], None] = lambda: None,
) -> T:
    """Repeats a write that must not be lost until the database takes it. Only for writes that are fenced.

    most_seconds: between two tries; of a lease's holder far less than the lease, which runs out meanwhile. beat: called
    before each.
    """
    pause = REPEAT_FIRST_SECONDS
    while True:
        beat()
        try:
            return await write()
        except Exception as error:
            if not is_outage(error):
                raise
        await asyncio.sleep(pause)
        pause = min(max_seconds, pause * 2)

"""Connections to PostgreSQL: how they are opened, and which errors mean that it is away."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

NAME_PREFIX = "fotograma "
"""Of the names of all connections, in pg_stat_activity.application_name."""
CONNECT_SECONDS = 5
IDLE_IN_TRANSACTION_SECONDS = 15
"""How long a process that is frozen or disconnected in a transaction can keep its locks."""
STATEMENT_SECONDS = 30
POOL_WAIT_SECONDS = 10
REPEAT_FIRST_SECONDS = 0.5
REPEAT_MAX_SECONDS = 15.0

# Notices within seconds that a server has vanished: the statement timeout runs only on the server.
_ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
_CHECK = text("""
    SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS read_only,
        extract(epoch FROM clock_timestamp()) AS seconds
""")
# SQLSTATEs: read-only (failover, full disk); terminated while idle in a transaction.
_AWAY = frozenset({"25006", "25P03"})
# SQLSTATEs: statement timeout, deadlock, serialization failure, lock not available.
_CONTENTION = frozenset({"57014", "40P01", "40001", "55P03"})
# SQLSTATE: foreign key violation.
_FOREIGN_KEY = "23503"

T = TypeVar("T")


def database_url(url: str) -> URL:
    """Returns a postgres:// or postgresql:// URL as SQLAlchemy wants it for psycopg."""
    return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")


def open_database(url: str, *, name: str, connections: int = 5) -> AsyncEngine:
    """Returns a pool that connects at first use. name: shown as application_name in pg_stat_activity."""
    return create_async_engine(
        database_url(url),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        # Replaces a connection that died with a restarted server before a caller gets it.
        pool_pre_ping=True,
        # The text of an error goes into logs: it names the statement but no values, which may be secret.
        hide_parameters=True,
        connect_args={
            "async_creator_fn": _connect,
            "application_name": f"{NAME_PREFIX}{name}",
            "connect_timeout": CONNECT_SECONDS,
            **_ALIVE,
            # An accepted video must be on disk before the answer, whatever the server's default is.
            "options": f"-c synchronous_commit=on -c statement_timeout={STATEMENT_SECONDS}s "
            f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_SECONDS}s -c timezone=UTC",
        },
    )


async def _connect(*arguments: Any, **options: Any) -> Any:
    """Connects to the server. Closes the socket at once when the task is cancelled meanwhile.

    psycopg leaves that to the garbage collector: the frames in the exception's traceback keep the connection open. The
    server would wait for the password for a minute and count the connection, and no database could be dropped.
    """
    import psycopg  # noqa: PLC0415
    from psycopg.types.json import set_json_loads  # noqa: PLC0415

    try:
        connection = await psycopg.AsyncConnection.connect(*arguments, **options)
    except asyncio.CancelledError as error:
        traceback.clear_frames(error.__traceback__)
        raise
    # Python's own JSON takes a fifth of the time of a page of 200 videos.
    set_json_loads(orjson.loads, connection)
    return connection


def _state(error: DBAPIError) -> str | None:
    """Returns the SQLSTATE of an error."""
    return getattr(error.orig, "sqlstate", None)


def is_outage(error: BaseException) -> bool:
    """Returns whether the database was unavailable: the same statement may succeed later."""
    if isinstance(error, InterfaceError | OperationalError | PoolTimeout):
        return True
    return isinstance(error, DBAPIError) and (error.connection_invalidated or _state(error) in _AWAY)


def is_contention(error: BaseException) -> bool:
    """Returns whether the database is available, but others hold the locks that were needed."""
    return isinstance(error, DBAPIError) and not error.connection_invalidated and _state(error) in _CONTENTION


def is_account_gone(error: BaseException) -> bool:
    """Returns whether a row could not be written because its account was erased meanwhile."""
    if not isinstance(error, IntegrityError) or _state(error) != _FOREIGN_KEY:
        return False
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return isinstance(constraint, str) and constraint.endswith("_user_id_fkey")


async def check(database: AsyncEngine) -> float:
    """Returns the server's time in seconds since the epoch. Raises when the server is away or read-only."""
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
    """Repeats a write until the database takes it. Only for fenced writes: they may be repeated safely.

    max_seconds: the longest pause between two tries. A worker must choose far less than its lease, which expires
    meanwhile. beat: called before each try.
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

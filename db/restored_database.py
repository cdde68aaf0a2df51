"""What a restore asks of a database and changes in it: whether it may be replaced, and what a foreign dump needs."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.connection import NAME_PREFIX

KEPT_SCHEMA = "before_restore"
"""Where the former tables are until the restore has succeeded."""
ANALYZE_SECONDS = 3600
TABLES = text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
# A worker's connections are called after the worker.
OTHERS = text("""
    SELECT DISTINCT split_part(substr(application_name, length(:prefix) + 1), ' ', 1)
    FROM pg_stat_activity
    WHERE datname = current_database() AND starts_with(application_name, :prefix) AND application_name <> :own
    ORDER BY 1
""")
SET_ASIDE = (
    f"DROP SCHEMA IF EXISTS {KEPT_SCHEMA} CASCADE",
    f"ALTER SCHEMA public RENAME TO {KEPT_SCHEMA}",
    "CREATE SCHEMA public AUTHORIZATION pg_database_owner",
)
BRING_BACK = (
    "DROP SCHEMA public CASCADE",
    f"ALTER SCHEMA {KEPT_SCHEMA} RENAME TO public",
)
DROP_KEPT = text(f"DROP SCHEMA IF EXISTS {KEPT_SCHEMA} CASCADE")
# The transactions of another server are numbered anew. What the stream had is older than all of them; what it had not
# comes next, in the order of ids.
RENUMBER_EVENTS = (
    """
    UPDATE events SET transaction_id = CASE
        WHEN transaction_id < low OR transaction_id < high AND events.id <= after_id THEN 0 ELSE 1 END
    FROM stream_cursor
    """,
    "UPDATE stream_cursor SET low = 1, high = 1, after_id = 0",
    # The backup that held it is over.
    "UPDATE operator_controls SET deletion_held_until = NULL",
)


async def table_count(database: AsyncEngine) -> int:
    async with database.connect() as connection:
        return int((await connection.execute(TABLES)).scalar_one())


async def connected_parts(database: AsyncEngine, own_name: str) -> list[str]:
    """Returns the parts of the service that are connected, such as `api`. own_name: of this program's connections."""
    values = {"prefix": NAME_PREFIX, "own": NAME_PREFIX + own_name}
    async with database.connect() as connection:
        return list((await connection.execute(OTHERS, values)).scalars())


async def set_aside(database: AsyncEngine) -> None:
    """Makes room for the restored tables; the former ones stay until `drop_former`."""
    async with database.begin() as connection:
        await _execute(connection, SET_ASIDE)


async def bring_back(database: AsyncEngine) -> None:
    """Undoes `set_aside`."""
    async with database.begin() as connection:
        await _execute(connection, BRING_BACK)


async def drop_former(database: AsyncEngine) -> None:
    async with database.begin() as connection:
        await connection.execute(DROP_KEPT)


async def finish_restore(database: AsyncEngine) -> None:
    """Makes the restored rows fit this server, and lets it plan with them."""
    async with database.begin() as connection:
        await connection.execute(text(f"SET LOCAL statement_timeout = '{ANALYZE_SECONDS}s'"))
        await _execute(connection, RENUMBER_EVENTS)
        await connection.execute(text("ANALYZE"))


async def _execute(connection: AsyncConnection, statements: tuple[str, ...]) -> None:
    for statement in statements:
        await connection.execute(text(statement))

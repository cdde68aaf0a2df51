"""Which schema a database has, without what migrates it: Alembic takes long to import, and most starts find nothing to
do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

HEAD = "0001"
"""The revision of the newest migration in db/migrations/versions, which this code needs."""
CONNECT_SECONDS = 5
_HAS_TABLE = "SELECT to_regclass('alembic_version')"
_REVISION = "SELECT version_num FROM alembic_version"


def has_schema(url: str) -> bool:
    """Returns whether the database has the schema that this code needs; False as well when it can't be asked."""
    import psycopg  # noqa: PLC0415

    plain = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
    try:
        with psycopg.connect(plain, connect_timeout=CONNECT_SECONDS) as connection:
            if connection.execute(_HAS_TABLE).fetchone() == (None,):
                return False
            return connection.execute(_REVISION).fetchone() == (HEAD,)
    except psycopg.Error:
        return False


async def is_current(database: AsyncEngine) -> bool:
    """Returns whether the database has the schema that this code needs."""
    return await revision_of(database) == HEAD


async def revision_of(database: AsyncEngine) -> str | None:
    """Returns the revision of the database's schema; None when it has no schema."""
    from sqlalchemy import text  # noqa: PLC0415

    async with database.connect() as connection:
        if (await connection.execute(text(_HAS_TABLE))).scalar() is None:
            return None
        found: str | None = (await connection.execute(text(_REVISION))).scalar()
    return found


async def server_version(database: AsyncEngine) -> str:
    """Returns the version of the PostgreSQL server, as it names it."""
    from sqlalchemy import text  # noqa: PLC0415

    async with database.connect() as connection:
        return str((await connection.execute(text("SHOW server_version"))).scalar_one())

"""Migrates a database to the newest schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from db.connection import database_url

# The key of an advisory lock, any fixed number: replicas that start together migrate one after another.
_LOCK = 7_306_001


def upgrade(url: str) -> None:
    """Runs the missing migrations. Several processes may call it at the same time."""
    database = create_engine(database_url(url), poolclass=NullPool)
    with database.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
        connection.commit()
    database.dispose()


def head() -> str:
    """Returns the revision that this code needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


async def is_current(database: AsyncEngine) -> bool:
    """Returns whether the database has the schema that this code needs."""
    async with database.connect() as connection:
        if (await connection.execute(text("SELECT to_regclass('alembic_version')"))).scalar() is None:
            return False
        found = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
    return found == head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config

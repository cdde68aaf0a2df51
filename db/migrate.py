"""Migrates a database to the newest schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
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
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
        connection.commit()
    database.dispose()


def alembic_config() -> Config:
    """Returns where the migrations are."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config

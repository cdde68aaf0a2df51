"""The migrations build the schema that the code declares."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from db import migrate
from db.database import database_url as url_of
from db.lifecycle import ExtractionStatus, TaskState
from db.schema import metadata
from tests.integration import rows


def test_the_migrations_build_what_the_tables_declare(database_url):
    database = create_engine(url_of(database_url))
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    database.dispose()


async def test_the_statuses_are_those_of_postgres(engine):
    for name, states in (("extraction_status", ExtractionStatus), ("task_state", TaskState)):
        row = await rows.one(engine, f"SELECT enum_range(NULL::{name})::text[] AS states")
        assert row.states == [str(state) for state in states]


async def test_migrating_again_changes_nothing_and_is_seen_as_current(engine, database_url):
    migrate.upgrade(database_url)
    assert await migrate.is_current(engine)

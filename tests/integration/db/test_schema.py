"""The migrations create the schema that the models declare."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from cluster.local.servers.embedded_postgres import Postgres
from db import migrate, schema_revision
from db.connection import database_url as url_of
from db.tables.metadata import metadata
from db.values.lifecycle import ExtractionStatus, TaskState
from tests.support.servers.real_servers import fresh_database
from tests.support.state import database_rows

# Alembic's comparison omits CHECK constraints, and the WHERE clauses of indexes.
CONSTRAINTS_AND_INDEXES = text("""
    SELECT conname::text AS name, conrelid::regclass || ' ' || pg_get_constraintdef(oid) AS definition
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
    UNION ALL
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
""")


@pytest.fixture
def migrated(database_url: str) -> Iterator[Connection]:
    database = create_engine(url_of(database_url))
    with database.connect() as connection:
        yield connection
    database.dispose()


@pytest.fixture
def declared(postgres: Postgres, migrated: Connection) -> Iterator[Connection]:
    """A database made from the models. Its only function, which a column's default calls, comes from the migrations."""
    function = migrated.execute(text("SELECT pg_get_functiondef('uuid_v7'::regproc)")).scalar_one()
    with fresh_database(postgres) as url:
        database = create_engine(url_of(url))
        with database.begin() as connection:
            connection.exec_driver_sql(function)
            metadata.create_all(connection)
            yield connection
        database.dispose()


def test_migrations_create_the_declared_columns(migrated: Connection) -> None:
    context = MigrationContext.configure(migrated, opts={"compare_type": True, "compare_server_default": True})
    assert compare_metadata(context, metadata) == []


def test_migrations_create_the_declared_constraints_and_indexes(migrated: Connection, declared: Connection) -> None:
    from_migrations, from_models = (
        {row.name: row.definition for row in connection.execute(CONSTRAINTS_AND_INDEXES)}
        for connection in (migrated, declared)
    )
    assert from_migrations == from_models
    assert "tasks_owner_when_leased" in from_migrations


async def test_status_enums_equal_the_postgres_enums(database: AsyncEngine) -> None:
    for name, states in (("extraction_status", ExtractionStatus), ("task_state", TaskState)):
        row = await database_rows.fetch_one(database, f"SELECT enum_range(NULL::{name})::text[] AS states")
        assert row.states == [str(state) for state in states]


def test_newest_migration_is_the_revision_that_the_code_needs() -> None:
    assert ScriptDirectory.from_config(migrate.alembic_config()).get_current_head() == schema_revision.HEAD


def test_empty_or_unreachable_database_does_not_have_the_schema(postgres: Postgres) -> None:
    assert not schema_revision.has_schema(postgres.url("postgres"))
    assert not schema_revision.has_schema("postgresql+psycopg://nobody@127.0.0.1:1/none")


async def test_repeated_migration_changes_nothing_and_is_current(database: AsyncEngine, database_url: str) -> None:
    migrate.upgrade(database_url)
    assert await schema_revision.is_current(database)
    assert schema_revision.has_schema(database_url)

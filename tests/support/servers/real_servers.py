"""Real servers for tests: one PostgreSQL and one Valkey a test run, a database of its own for each test.

A test run inside a test uses the servers of the outer one (SERVER_FOLDER_VARIABLE).

Use: `from tests.support.servers.real_servers import database_url, postgres, redis_url, server_folder, template, valkey`
in a conftest.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from redis import Redis

from cluster.local.servers.embedded_postgres import Postgres
from cluster.local.servers.embedded_valkey import Valkey
from cluster.local.servers.os_user import server_user
from cluster.local.servers.postgres_programs import programs_for
from db import migrate

__all__ = ["database_url", "postgres", "redis_url", "server_folder", "template", "valkey"]

SERVER_FOLDER_VARIABLE = "FOTOGRAMA_TEST_SERVER_FOLDER"
"""Names the `server_folder` of running servers."""
TEMPLATE = "template_migrated"
# The data of tests need not survive a power failure.
FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "max_connections": "300"}
# Each test creates a database of 300 files and deletes it: in memory this takes a quarter of the processor time.
MEMORY_FOLDER, MIN_FREE_BYTES = Path("/dev/shm"), 2 << 30


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder with a path short enough for sockets, and open to the account that PostgreSQL runs as."""
    if (outer := _outer_folder()) is not None:
        yield outer
        return
    folder = Path(tempfile.mkdtemp(prefix="fotograma-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def _outer_folder() -> Path | None:
    name = os.environ.get(SERVER_FOLDER_VARIABLE)
    return None if name is None else Path(name)


def _folder_for_data() -> Path:
    has_room = MEMORY_FOLDER.is_dir() and shutil.disk_usage(MEMORY_FOLDER).free >= MIN_FREE_BYTES
    return MEMORY_FOLDER if has_room else Path("/tmp")


def _postgres_in(folder: Path, data_parent: Path) -> Postgres:
    account = server_user()
    return Postgres(
        data_parent / "postgres",
        folder / "sockets",
        folder / "postgres.log",
        password="test",
        os_user=account,
        programs=programs_for(account, folder),
        settings=FAST_SETTINGS,
    )


def _valkey_in(folder: Path) -> Valkey:
    return Valkey(
        folder / "valkey",
        folder / "valkey.sock",
        folder / "valkey.log",
        password="test",
        settings={"appendonly": "no"},
    )


@contextmanager
def running_postgres(folder: Path) -> Iterator[Postgres]:
    """A server in a folder with a short path, open to the account that PostgreSQL runs as."""
    data_parent = Path(tempfile.mkdtemp(prefix="fotograma-test-", dir=_folder_for_data()))
    data_parent.chmod(0o755)
    server = _postgres_in(folder, data_parent)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(data_parent)


@contextmanager
def running_valkey(folder: Path) -> Iterator[Valkey]:
    """A server in a folder with a short path."""
    server = _valkey_in(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres(server_folder: Path) -> Iterator[Postgres]:
    """The server. `postgres.url("postgres")` is its maintenance database."""
    if _outer_folder() is not None:
        yield _postgres_in(server_folder, server_folder)
        return
    with running_postgres(server_folder) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """The name of a migrated database that nobody is connected to."""
    if _outer_folder() is not None:
        return TEMPLATE
    _run(postgres, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    migrate.upgrade(postgres.url(TEMPLATE))
    return TEMPLATE


@contextmanager
def fresh_database(postgres: Postgres, template: str = "template1") -> Iterator[str]:
    """The address of a database that starts as the template; without one it is empty."""
    name = f"test_{uuid.uuid4().hex}"
    clone = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    _run(postgres, clone.format(sql.Identifier(name), sql.Identifier(template)))
    yield postgres.url(name)
    _run(postgres, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(postgres: Postgres, template: str) -> Iterator[str]:
    """A migrated, empty database for one test."""
    with fresh_database(postgres, template) as url:
        yield url


@pytest.fixture(scope="session")
def valkey(server_folder: Path) -> Iterator[Valkey]:
    """The server of the whole run."""
    if _outer_folder() is not None:
        yield _valkey_in(server_folder)
        return
    with running_valkey(server_folder) as server:
        yield server


@pytest.fixture
def redis_url(valkey: Valkey) -> Iterator[str]:
    """An empty cache for one test."""
    yield valkey.url
    with Redis.from_url(valkey.url) as redis:
        redis.flushall()


def _run(server: Postgres, statement: sql.Composed) -> None:
    _administrator(os.getpid(), server.url("postgres")).execute(statement)


@cache
def _administrator(_pid: int, url: str) -> psycopg.Connection[Any]:
    """One connection for the databases of all tests: each connection costs PostgreSQL a process."""
    connection = psycopg.connect(url, autocommit=True)
    # PostgreSQL may have ended before.
    atexit.register(connection.close)
    return connection

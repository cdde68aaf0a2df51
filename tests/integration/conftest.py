"""Fixtures of all integration tests: a database, an object store and an application for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.worker.worker_deps import WorkerDeps
from db.cache import open_cache
from db.connection import open_database
from db.object_store.folder_store import FolderStore
from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients import api_client
from tests.support.state.stores import Stores
from tests.support.state.worker_setup import make_worker_deps


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    database = open_database(database_url, name="test", connections=10)
    yield database
    await database.dispose()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "objects")


@pytest.fixture
def worker_deps(database: AsyncEngine, store: FolderStore, tmp_path: Path) -> WorkerDeps:
    """The dependencies of a worker: the test's database, object store and scratch folder."""
    return make_worker_deps(database, store, tmp_path)


@pytest.fixture
def long_redis_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives Redis 10 s to answer, so that a busy machine does not count as a Redis that is away."""
    monkeypatch.setattr("db.cache.TIMEOUT_SECONDS", 10.0)


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the pause after an error of the service an hour long: one of half a second may be over too early."""
    for name in ("BACKOFF_FIRST_SECONDS", "BACKOFF_MAX_SECONDS"):
        monkeypatch.setattr(f"db.values.lifecycle.{name}", 2 * 3600.0)


@pytest.fixture
async def deps(database: AsyncEngine, redis_url: str, tmp_path: Path) -> AsyncIterator[Deps]:
    """The dependencies of the application: real servers, and the test's own folder of objects."""
    cache = open_cache(redis_url)
    app_deps = api_client.make_deps(database, tmp_path / "objects", cache)
    yield app_deps
    await app_deps.extraction_feed.close()
    app_deps.password_hasher.close()
    await cache.close()


@pytest.fixture
def stores(deps: Deps, tmp_path: Path) -> Stores:
    """The database and the objects of `deps`."""
    return Stores(deps.database, tmp_path / "objects")


@pytest.fixture
async def port(deps: Deps) -> AsyncIterator[int]:
    """The port at which the application in this process listens."""
    async with api_client.listen(create_app(deps)) as port:
        yield port


@pytest.fixture
async def visitor(deps: Deps) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application in this process, not logged in."""
    async with api_client.open_client(create_app(deps)) as client:
        yield client


@pytest.fixture
async def ana(visitor: httpx.AsyncClient) -> httpx.AsyncClient:
    """The client `visitor`, logged in as ana@example.org."""
    await api_client.log_in(visitor)
    return visitor


@pytest.fixture
async def bob(deps: Deps) -> AsyncIterator[httpx.AsyncClient]:
    """Another client, logged in as bob@example.net."""
    async with api_client.open_client(create_app(deps)) as client:
        await api_client.log_in(client, "bob@example.net")
        yield client

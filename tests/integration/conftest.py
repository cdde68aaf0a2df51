"""What every integration test may ask for: real servers, and a database of its own."""

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
    """What a worker of this test works with."""
    return make_worker_deps(database, store, tmp_path)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is not taken for a Redis that is away."""
    monkeypatch.setattr("db.cache.TIMEOUT_SECONDS", 10.0)


@pytest.fixture
async def deps(database: AsyncEngine, redis_url: str, tmp_path: Path) -> AsyncIterator[Deps]:
    """What the application works with: real servers, an object folder of this test's own."""
    cache = open_cache(redis_url)
    made = api_client.make_deps(database, tmp_path / "objects", cache)
    yield made
    made.password_hasher.close()
    await cache.close()


@pytest.fixture
async def visitor(deps: Deps) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application in this process, not logged in."""
    async with api_client.open_client(create_app(deps)) as client:
        yield client


@pytest.fixture
async def ana(visitor: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same, logged in as ana@example.org."""
    await api_client.log_in(visitor)
    return visitor

"""A replica closes the resources that it has opened, at its end and when the next one can't be opened."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from actors.notify.redis_stream_relay import StreamRelay
from actors.notify.ssrf_safe_http import WebhookHttpClient
from actors.readers.gpu_probe import probe_gpu
from cluster.wiring import api, maintenance, worker
from db.cache import Cache
from db.values.worker_kind import WorkerKind
from serve_app.security.password_hashing import PasswordHasher

Open = Callable[[], AbstractAsyncContextManager[object]]

OPENED: dict[Open, set[object]] = {
    api.open_api: {"database", Cache, PasswordHasher},
    worker.open_worker: {"database", Cache},
    maintenance.open_maintenance: {"database", WebhookHttpClient, StreamRelay},
}


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> set[object]:
    """The resources that were closed so far. They are really closed, and recorded here."""
    closed_resources: set[object] = set()

    def record_calls(kind: type, name: str, resource: object) -> None:
        original = getattr(kind, name)

        def record_and_call(self: Any, *arguments: Any, **named: Any) -> Any:
            closed_resources.add(resource)
            return original(self, *arguments, **named)

        monkeypatch.setattr(kind, name, record_and_call)

    record_calls(AsyncEngine, "dispose", "database")
    record_calls(Cache, "close", Cache)
    record_calls(WebhookHttpClient, "close", WebhookHttpClient)
    record_calls(StreamRelay, "close", StreamRelay)
    record_calls(PasswordHasher, "close", PasswordHasher)
    return closed_resources


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The tests must not change the logging of this process.
    for module in (api, maintenance, worker):
        monkeypatch.setattr(module, "log_as_json", lambda: None)
    values = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1",
        "OBJECTS_URL": f"file://{tmp_path}",
        "SECRET_KEY": "s" * 32,
        "SCRATCH": str(tmp_path / "scratch"),
    }
    for name, value in values.items():
        monkeypatch.setenv(f"FOTOGRAMA_{name}", value)


@pytest.mark.parametrize("open_wiring", OPENED, ids=lambda open_wiring: open_wiring.__name__)
async def test_resources_are_closed_when_the_store_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, closed: set[object], open_wiring: Open
) -> None:
    monkeypatch.setenv("FOTOGRAMA_OBJECTS_URL", "nonsense://nowhere")
    with pytest.raises(Exception, match="nonsense"):
        async with open_wiring():
            raise AssertionError("it was opened")
    assert closed == OPENED[open_wiring]


@pytest.mark.parametrize("open_wiring", OPENED, ids=lambda open_wiring: open_wiring.__name__)
async def test_resources_are_closed_when_the_cache_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, closed: set[object], open_wiring: Open
) -> None:
    monkeypatch.setenv("FOTOGRAMA_REDIS_URL", "nonsense://nowhere")
    with pytest.raises(ValueError, match="Redis URL"):
        async with open_wiring():
            raise AssertionError("it was opened")
    assert closed >= {"database"}
    assert closed >= OPENED[open_wiring] & {WebhookHttpClient}


@pytest.mark.parametrize("reader", ["auto", "pyav"])
async def test_worker_of_the_gpu_pool_works_as_what_its_machine_is(
    monkeypatch: pytest.MonkeyPatch, closed: set[object], reader: str
) -> None:
    monkeypatch.setenv("FOTOGRAMA_READER", reader)
    with capture_logs() as logs:
        async with worker.open_worker(kind=WorkerKind.GPU):
            assert not closed
    expected = "gpu.missed" if reader == "pyav" or probe_gpu().missing else "gpu.opened"
    assert expected in [entry["event_name"] for entry in logs]
    assert closed == OPENED[worker.open_worker]


@pytest.mark.parametrize("open_wiring", OPENED, ids=lambda open_wiring: open_wiring.__name__)
async def test_resources_are_closed_at_the_end(closed: set[object], open_wiring: Open) -> None:
    async with open_wiring():
        assert not closed
    assert closed == OPENED[open_wiring]

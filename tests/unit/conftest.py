"""Fixtures for tests of the SDK: each client in turn, on a fake service, with a fake clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.client.uploads import resumable_upload
from tests.support.clients.fake_service import FakeService
from tests.support.clients.fake_service_clients import CLIENT_KINDS, FakeClock, OpenClient, client_opener


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=CLIENT_KINDS)
def open_client(request: pytest.FixtureRequest, service: FakeService, clock: FakeClock) -> Iterator[OpenClient]:
    with asyncio.Runner() as runner:
        yield client_opener(request.param, service, clock, runner)


@pytest.fixture
def client(open_client: OpenClient) -> Any:
    return open_client()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"video of ana")
    return path


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of several pieces."""
    monkeypatch.setattr(resumable_upload, "ONE_REQUEST_BYTES", 10)
    monkeypatch.setattr(resumable_upload, "PIECE_BYTES", 400)
    monkeypatch.setattr(resumable_upload, "MIN_PIECE_BYTES", 100)
    path = tmp_path / "large.mp4"
    path.write_bytes(b"video" + bytes(range(256)) * 8)
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Path of a state file that does not exist yet."""
    return tmp_path / "state" / "uploads.json"

"""Fixtures for tests of the SDK: each client in turn, on a fake service, with a fake clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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

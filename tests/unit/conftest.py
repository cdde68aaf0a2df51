"""For the tests of the clients: either of them, over a stand-in of the service, in time that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_service import StandIn
from tests.support.sdk_clients import KINDS, Clock, Open, opener


@pytest.fixture
def service() -> StandIn:
    return StandIn()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=KINDS)
def open_client(request: pytest.FixtureRequest, service: StandIn, clock: Clock) -> Iterator[Open]:
    with asyncio.Runner() as runner:
        yield opener(request.param, service, clock, runner)


@pytest.fixture
def client(open_client: Open) -> Any:
    return open_client()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"video of ana")
    return path

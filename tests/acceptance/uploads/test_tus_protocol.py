"""All test cases of the tus protocol against the running service: over TCP, through its HAProxy.

The cases are those of tests/integration/serve_app, with other fixtures. Two accounts send all requests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx
import pytest

from db.connection import open_database
from tests.integration.serve_app.tus import test_broken_requests, test_protocol, test_refusals
from tests.support.servers.running_service import Service
from tests.support.state.stores import Stores

TIMEOUT_SECONDS = 60.0


@pytest.fixture(scope="module")
def headers_of_ana(service: Service) -> Mapping[str, str]:
    return service.authorization()


@pytest.fixture(scope="module")
def headers_of_bob(service: Service) -> Mapping[str, str]:
    return service.authorization()


@pytest.fixture
async def visitor(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url, timeout=TIMEOUT_SECONDS, verify=False) as client:
        yield client


@pytest.fixture
def ana(visitor: httpx.AsyncClient, headers_of_ana: Mapping[str, str]) -> httpx.AsyncClient:
    visitor.headers.update(headers_of_ana)
    return visitor


@pytest.fixture
async def bob(service: Service, headers_of_bob: Mapping[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=service.url, headers=headers_of_bob, timeout=TIMEOUT_SECONDS, verify=False
    ) as client:
        yield client


@pytest.fixture
def port(service: Service) -> int:
    return service.port


@pytest.fixture
async def stores(service: Service) -> AsyncIterator[Stores]:
    database = open_database(service.database_url(), name="test", connections=10)
    yield Stores(database, service.data_dir / "objects")
    await database.dispose()


class TestTusUploads(test_protocol.TestTusUploads):
    """Uploads that follow the protocol."""


class TestTusRefusals(test_refusals.TestTusRefusals):
    """Requests that are refused."""


class TestTusBrokenRequests(test_broken_requests.TestTusBrokenRequests):
    """Requests whose body does not match their headers."""

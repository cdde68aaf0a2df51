"""Lists of the SDK: the pages are as large as the server says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.client.calls.lists import largest_page_of
from serve_app.http.pagination import MAX_LIMIT
from serve_app.openapi.openapi_document import openapi_document
from tests.support.clients.fake_messages import json_response
from tests.support.clients.fake_service import FakeService

DOCUMENT = {
    "paths": {"/v1/videos": {"get": {"parameters": [{"name": "q"}, {"name": "limit", "schema": {"maximum": 7}}]}}}
}


def test_largest_page_is_that_of_the_service() -> None:
    assert largest_page_of(openapi_document()) == MAX_LIMIT


@pytest.mark.parametrize("document", [None, [], {}, {"paths": {"/v1/videos": {}}}])
def test_document_of_another_service_tells_no_largest_page(document: Any) -> None:
    assert largest_page_of(document) is None


@pytest.mark.parametrize("document", [DOCUMENT, {}])
def test_limit_is_learnt_once_and_only_when_there_is_a_second_page(
    client: Any, service: FakeService, clip: Path, document: Any
) -> None:
    service.add_faults("GET", "/openapi.json", *[lambda request, carry_out: json_response(200, document)] * 2)
    client.upload(clip)
    assert len(list(client.videos())) == 1
    assert service.requests_to("GET", "/openapi.json") == []
    for _ in range(4):
        client.upload(clip)
    service.requests.clear()
    for _ in range(2):
        assert len(list(client.videos())) == 5
    assert len(service.requests_to("GET", "/openapi.json")) == 1
    largest = "7" if document else None
    limits = [request.query.get("limit") for request in service.requests_to("GET", "/v1/videos")]
    assert limits == [None, largest, largest] * 2

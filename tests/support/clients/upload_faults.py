"""Uploads that break off on the fake service, and what it then received."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fotograma import ConnectionFailed
from tests.support.clients.fake_messages import ApiRequest, ApiResponse, Fault, drop_connection
from tests.support.clients.fake_service import FakeService

UPLOADS = "/v1/uploads"
ONE_UPLOAD = "/v1/uploads/.*"


def receive_part(size: int, then: Fault = drop_connection) -> Fault:
    """The service receives `size` bytes of the request; then the second fault follows."""

    def fault(request: ApiRequest, carry_out: Any) -> ApiResponse:
        request.body = request.body[:size]
        carry_out()
        return then(request, carry_out)

    return fault


def interrupt_upload(client: Any, service: FakeService, path: Path, **options: Any) -> None:
    """The client fails when the service has received the first piece."""
    service.add_faults("PATCH", ONE_UPLOAD, receive_part(400), *[drop_connection] * 6)
    with pytest.raises(ConnectionFailed):
        client.upload(path, **options)
    service.requests.clear()


def offsets(service: FakeService) -> list[int]:
    return [int(request.headers["upload-offset"]) for request in service.requests_to("PATCH", ONE_UPLOAD)]

"""How many bytes of a large file the client sends in one request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.client.uploads import resumable_upload
from tests.support.clients.fake_messages import drop_connection
from tests.support.clients.fake_service import FakeService
from tests.support.clients.upload_faults import ONE_UPLOAD, offsets


@pytest.mark.parametrize(("limit", "size"), [(100, 100), (800, 800), (5000, 1000)])
def test_pieces_are_as_large_as_the_service_takes_and_no_larger_than_the_client_sends(
    client: Any, service: FakeService, large: Path, monkeypatch: pytest.MonkeyPatch, limit: int, size: int
) -> None:
    monkeypatch.setattr(resumable_upload, "MAX_PIECE_BYTES", 1000)
    service.max_append_bytes = limit
    client.upload(large)
    assert offsets(service) == list(range(0, large.stat().st_size, size))


def test_pieces_are_smaller_after_a_failure(
    client: Any, service: FakeService, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable_upload, "MAX_PIECE_BYTES", 1000)
    service.max_append_bytes = 5000
    service.add_faults("PATCH", ONE_UPLOAD, drop_connection)
    client.upload(large)
    assert offsets(service) == [0, 0, 400, 800, 1200, 1600, 2000]

"""Another client continues an upload that stands in the state file, if nothing of it differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.client.uploads import tus_protocol
from fotograma import ApiError
from tests.support.clients.fake_service import FakeService
from tests.support.clients.fake_service_clients import OpenClient
from tests.support.clients.upload_faults import UPLOADS, interrupt_upload, offsets


def test_another_client_continues_the_upload_in_the_state_file(
    open_client: OpenClient, service: FakeService, large: Path, state: Path
) -> None:
    interrupt_upload(open_client(upload_state=state), service, large)
    video = open_client(upload_state=state).upload(large)
    assert service.file_contents == {video.id: large.read_bytes()}
    assert offsets(service) == [400, 800, 1200, 1600, 2000]
    assert not service.requests_to("POST", UPLOADS)
    assert open_client(upload_state=state).upload(large).id == video.id
    assert len(service.uploads) == 1


def test_client_without_a_state_file_starts_again(open_client: OpenClient, service: FakeService, large: Path) -> None:
    interrupt_upload(open_client(), service, large)
    open_client().upload(large)
    assert offsets(service)[0] == 0


@pytest.mark.parametrize("difference", ["content", "specification", "key", "account", "file"])
def test_any_difference_makes_another_upload(
    open_client: OpenClient, service: FakeService, large: Path, state: Path, difference: str
) -> None:
    interrupt_upload(open_client(upload_state=state), service, large)
    options: dict[str, Any] = {}
    if difference == "content":
        large.write_bytes(large.read_bytes()[:-1] + b".")
    if difference == "account":
        service.account_id = "u-2"
    if difference == "file":
        large = large.rename(large.with_name("other.mp4"))
    if difference in {"specification", "key"}:
        options = {"spec": {"max_frames": 1}} if difference == "specification" else {"idempotency_key": "mine"}
    open_client(upload_state=state).upload(large, **options)
    assert offsets(service)[0] == 0
    assert len(service.uploads) == 2


@pytest.mark.parametrize("ending", ["terminated", "deleted", "forgotten"])
def test_upload_that_only_the_state_file_has_is_started_again(
    open_client: OpenClient, service: FakeService, large: Path, state: Path, ending: str
) -> None:
    client = open_client(upload_state=state)
    if ending == "deleted":
        client.delete(client.upload(large))
    else:
        interrupt_upload(client, service, large)
        upload = service.uploads["u-1"]
        upload.is_gone = ending == "terminated"
        service.uploads = {"u-1": upload} if ending == "terminated" else {"other": upload}
    video = open_client(upload_state=state).upload(large)
    assert service.file_contents[video.id] == large.read_bytes()
    (entry,) = json.loads(state.read_text())["uploads"].values()
    assert entry["upload"] == "/v1/uploads/u-2"


def test_refused_file_leaves_no_entry(open_client: OpenClient, service: FakeService, large: Path, state: Path) -> None:
    large.write_bytes(b"dear diary, " * 100)
    with pytest.raises(ApiError, match="not_a_video"):
        open_client(upload_state=state).upload(large)
    assert json.loads(state.read_text())["uploads"] == {}


def test_file_that_is_sent_in_one_request_needs_no_entry(
    open_client: OpenClient, service: FakeService, clip: Path, state: Path
) -> None:
    open_client(upload_state=state).upload(clip)
    assert not state.exists()
    assert tus_protocol.ONE_REQUEST_BYTES <= tus_protocol.PIECE_BYTES

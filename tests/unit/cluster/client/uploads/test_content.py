"""A continued upload never mixes two contents of one path, and no content is sent twice."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

import pytest

from cluster.client.local_files import local_file
from cluster.client.uploads import resumable_upload
from fotograma import ApiError
from tests.support.clients.fake_messages import answer_problem
from tests.support.clients.fake_service import FakeService
from tests.support.clients.fake_service_clients import OpenClient
from tests.support.clients.upload_faults import UPLOADS, interrupt_upload


def change_keeping_size_and_time(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"video" + bytes(reversed(range(256))) * 8)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("by_content", [False, True])
def test_file_that_changed_between_two_runs_is_sent_again_in_full(
    open_client: OpenClient, service: FakeService, large: Path, state: Path, by_content: bool
) -> None:
    interrupt_upload(open_client(upload_state=state), service, large, by_content=by_content)
    change_keeping_size_and_time(large)
    video = open_client(upload_state=state).upload(large, by_content=by_content)
    assert service.file_contents == {video.id: large.read_bytes()}
    assert service.uploads["u-1"].is_gone
    (entry,) = json.loads(state.read_text())["uploads"].values()
    assert entry["sha256"] == hashlib.sha256(large.read_bytes()).hexdigest()


def test_upload_of_a_file_with_only_a_new_time_continues(
    open_client: OpenClient, service: FakeService, large: Path, state: Path
) -> None:
    interrupt_upload(open_client(upload_state=state), service, large)
    os.utime(large, ns=(1, 1))
    open_client(upload_state=state).upload(large)
    assert len(service.uploads) == 1


@pytest.mark.parametrize("size", ["small", "large"])
def test_key_of_another_content_is_refused_and_not_mixed(
    open_client: OpenClient, service: FakeService, large: Path, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if size == "small":
        monkeypatch.setattr(resumable_upload, "ONE_REQUEST_BYTES", 10_000)
        open_client().upload(large, idempotency_key="mine")
    else:
        interrupt_upload(open_client(), service, large, idempotency_key="mine")
    change_keeping_size_and_time(large)
    with pytest.raises(ApiError, match="idempotency_key_reused"):
        open_client().upload(large, idempotency_key="mine")
    assert large.read_bytes() not in service.file_contents.values()


def test_upload_that_a_later_call_can_continue_declares_its_checksum(
    open_client: OpenClient, service: FakeService, large: Path, state: Path
) -> None:
    digest = hashlib.sha256(large.read_bytes()).hexdigest()
    open_client().upload(large)
    open_client().upload(large, idempotency_key="mine")
    open_client(upload_state=state).upload(large)
    assert [upload.metadata.get("sha256") for upload in service.uploads.values()] == [None, digest, digest]


def test_unwritable_state_file_gives_a_warning_and_the_upload_succeeds(
    open_client: OpenClient, service: FakeService, large: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file where the folder is to be")
    with caplog.at_level(logging.WARNING):
        video = open_client(upload_state=tmp_path / "taken" / "uploads.json").upload(large, by_content=True)
    assert service.file_contents == {video.id: large.read_bytes()}
    assert "can't go on after a crash" in caplog.text


@pytest.mark.parametrize("second_call", ["same", "another specification", "another name"])
def test_content_that_no_worker_has_read_yet_is_not_sent_again(
    open_client: OpenClient, service: FakeService, clip: Path, state: Path, second_call: str
) -> None:
    service.is_staged_at_once = False
    first = open_client(upload_state=state).upload(clip, by_content=True)
    sent_before = len(service.requests_to("POST", UPLOADS))
    spec = {"max_frames": 1} if second_call == "another specification" else None
    path = shutil.copy(clip, clip.with_name("copy.mp4")) if second_call == "another name" else clip
    second = open_client(upload_state=state).upload(path, spec, by_content=True)
    assert second.id == first.id
    assert second.extraction.spec == (spec or {})
    assert len(service.requests_to("POST", UPLOADS)) == sent_before


def test_content_sent_to_another_account_is_sent_again(
    open_client: OpenClient, service: FakeService, clip: Path, state: Path
) -> None:
    service.is_staged_at_once = False
    open_client(upload_state=state).upload(clip, by_content=True)
    service.account_id = "u-2"
    open_client(upload_state=state).upload(clip, by_content=True)
    assert len(service.requests_to("POST", UPLOADS)) == 2


@pytest.mark.parametrize("end", ["deleted", "damaged", "another content"])
def test_sent_video_that_is_deleted_damaged_or_of_another_content_is_sent_again(
    open_client: OpenClient, service: FakeService, clip: Path, state: Path, end: str
) -> None:
    service.is_staged_at_once = False
    client = open_client(upload_state=state)
    video = client.upload(clip, by_content=True)
    if end == "deleted":
        client.delete(video)
    if end == "damaged":
        error = {"code": "checksum_mismatch", "detail": "", "fault": "file", "remedy": ""}
        service.videos[video.id]["extraction"] |= {"status": "failed", "error": error}
    if end == "another content":
        service.videos[video.id]["sha256"] = "0" * 64
    client.upload(clip, by_content=True)
    assert len(service.requests_to("POST", UPLOADS)) >= 2


def test_reading_for_the_checksum_is_reported_before_sending(
    open_client: OpenClient, service: FakeService, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_file, "BLOCK_BYTES", 1000)
    progress: list[tuple[str, int, int]] = []
    open_client().upload(
        large,
        by_content=True,
        on_read=lambda done, total: progress.append(("read", done, total)),
        on_sent=lambda done, total: progress.append(("sent", done, total)),
    )
    assert progress[:4] == [("read", 1000, 2053), ("read", 2000, 2053), ("read", 2053, 2053), ("sent", 0, 2053)]


@pytest.mark.parametrize(("status", "code"), [(507, "quota_exceeded"), (429, "minutes_exceeded")])
def test_exhausted_quota_ends_the_upload_at_once_with_its_remedy(
    open_client: OpenClient, service: FakeService, large: Path, status: int, code: str
) -> None:
    service.add_faults("POST", UPLOADS, answer_problem(status, code, Retry_After="3600"))
    with pytest.raises(ApiError, match=code) as refused:
        open_client().upload(large)
    assert refused.value.remedy == f"Remedy of {code}."
    assert len(service.requests_to("POST", UPLOADS)) == 1

"""The state file of unfinished uploads: which upload finds an entry, and how long the entry stays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cluster.client.local_files import sent_videos
from cluster.client.local_files.sent_videos import RETENTION, SentVideos
from cluster.client.local_files.upload_state_file import RecordedUpload, UploadStateFile, upload_identity

NOW = datetime(2026, 1, 2, tzinfo=UTC)
FILE = Path("a.mp4")
FIRST, SECOND = RecordedUpload("/v1/uploads/1", "a" * 64), RecordedUpload("/v1/uploads/2", "b" * 64)


class Clock:
    now = NOW


@pytest.fixture
def state(tmp_path: Path) -> UploadStateFile:
    return UploadStateFile(tmp_path / "new" / "uploads.json", lambda: Clock.now)


def test_entry_is_found_until_its_upload_expires(state: UploadStateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    state.record("x", FILE, FIRST, NOW + timedelta(days=1))
    state.record("y", FILE, SECOND, NOW + timedelta(days=9))
    assert (state.find("x"), state.find("y"), state.find("z")) == (FIRST, SECOND, None)
    monkeypatch.setattr(Clock, "now", NOW + timedelta(days=1))
    assert (state.find("x"), state.find("y")) == (None, SECOND)
    state.delete("y")
    state.delete("y")
    assert state.find("y") is None


@pytest.mark.parametrize("content", ["{", "[]", '{"uploads": 1}', '{"uploads": {"x": {}, "y": 1}}', "\0", "[" * 99999])
def test_damaged_file_counts_as_empty_and_is_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "uploads.json").write_text(content)
    state = UploadStateFile(tmp_path / "uploads.json", lambda: NOW)
    assert state.find("x") is None
    state.record("x", FILE, FIRST, NOW + timedelta(days=1))
    assert state.find("x") == FIRST


def test_only_the_owner_can_read_the_file(state: UploadStateFile, tmp_path: Path) -> None:
    state.record("x", FILE, FIRST, NOW + timedelta(days=1))
    assert {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "new").iterdir()} == {
        "uploads.json": 0o600,
        "uploads.lock": 0o600,
    }
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_entries_that_are_written_concurrently_are_all_kept(tmp_path: Path) -> None:
    def record(number: int) -> None:
        state = UploadStateFile(tmp_path / "uploads.json", lambda: NOW)
        state.record(str(number), FILE, replace(FIRST, upload_path=f"/v1/uploads/{number}"), NOW + timedelta(days=1))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(record, range(40)))
    state = UploadStateFile(tmp_path / "uploads.json", lambda: NOW)
    assert [state.find(str(number)) for number in range(40)] == [
        replace(FIRST, upload_path=f"/v1/uploads/{number}") for number in range(40)
    ]


@pytest.mark.parametrize(
    "path", ["https://elsewhere.example/v1/uploads/1", "/v1/me", "/v1/uploads/", "/v1/uploads/1?x"]
)
def test_entry_that_leads_elsewhere_than_to_an_upload_of_the_server_does_not_count(
    state: UploadStateFile, path: str
) -> None:
    state.record("x", FILE, replace(FIRST, upload_path=path), NOW + timedelta(days=1))
    assert state.find("x") is None


def test_identity_is_of_server_account_path_specification_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = "http://127.0.0.1:8000"
    same = {
        upload_identity(server, "u-1", FILE, None, None),
        upload_identity(f"{server}/", "u-1", tmp_path / FILE, None, None),
    }
    others = {
        upload_identity("http://127.0.0.1:8001", "u-1", FILE, None, None),
        upload_identity(server, "u-2", FILE, None, None),
        upload_identity(server, "u-1", Path("b.mp4"), None, None),
        upload_identity(server, "u-1", FILE, "{}", None),
        upload_identity(server, "u-1", FILE, None, "mine"),
    }
    assert (len(same), len(others), len(same | others)) == (1, 5, 6)


def test_sent_videos_are_known_to_other_processes_for_a_week(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (SentVideos(tmp_path / "new" / "uploads.sent", lambda: Clock.now) for _ in range(2))
    assert one.find("x") is None
    one.record("x", "v-1")
    other.record("y", "v-2")
    assert [(sent.find("x"), sent.find("y"), sent.find("z")) for sent in (one, other)] == [("v-1", "v-2", None)] * 2
    assert (tmp_path / "new" / "uploads.sent").stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(Clock, "now", NOW + RETENTION)
    assert one.find("x") is None


@pytest.mark.parametrize(
    "content", [b"{", b"[]\n", b'["x", "v-1"]\n', b'["x", "v-1", "today"]\n', b"\xff\n", b"[" * 9999]
)
def test_damaged_lines_of_sent_videos_count_for_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "uploads.sent"
    path.write_bytes(content + b"\n")
    sent = SentVideos(path, lambda: NOW)
    assert sent.find("x") is None
    sent.record("x", "v-2")
    assert sent.find("x") == "v-2"


def test_file_of_too_many_sent_videos_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_videos, "MAX_LINES", 3)
    one, other = (SentVideos(tmp_path / "uploads.sent", lambda: NOW) for _ in range(2))
    for number in range(4):
        one.record(str(number), f"v-{number}")
        assert other.find(str(number)) == one.find(str(number)) == f"v-{number}"
    assert other.find("0") is None
    assert len((tmp_path / "uploads.sent").read_text().splitlines()) == 1

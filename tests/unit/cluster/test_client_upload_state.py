"""The file that remembers uploads: who finds an entry, and how long it is there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cluster.client.local_files.local_file import LocalFile, stat_file
from cluster.client.local_files.upload_state_file import UploadStateFile, upload_identity

NOW = datetime(2026, 1, 2, tzinfo=UTC)
FILE = LocalFile(Path("a.mp4"), 100, 7)


class Clock:
    now = NOW


@pytest.fixture
def state(tmp_path: Path) -> UploadStateFile:
    return UploadStateFile(tmp_path / "new" / "uploads.json", lambda: Clock.now)


def test_entry_is_found_until_its_upload_expires(state: UploadStateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    state.record("x", FILE, "/v1/uploads/1", NOW + timedelta(days=1))
    state.record("y", FILE, "/v1/uploads/2", NOW + timedelta(days=9))
    assert (state.find("x"), state.find("y"), state.find("z")) == ("/v1/uploads/1", "/v1/uploads/2", None)
    monkeypatch.setattr(Clock, "now", NOW + timedelta(days=1))
    assert (state.find("x"), state.find("y")) == (None, "/v1/uploads/2")
    state.forget("y")
    state.forget("y")
    assert state.find("y") is None


@pytest.mark.parametrize("content", ["{", "[]", '{"uploads": 1}', '{"uploads": {"x": {}, "y": 1}}', "\0"])
def test_damaged_file_counts_as_empty_and_is_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "uploads.json").write_text(content)
    state = UploadStateFile(tmp_path / "uploads.json", lambda: NOW)
    assert state.find("x") is None
    state.record("x", FILE, "/v1/uploads/1", NOW + timedelta(days=1))
    assert state.find("x") == "/v1/uploads/1"


def test_only_the_owner_can_read_the_file(state: UploadStateFile, tmp_path: Path) -> None:
    state.record("x", FILE, "/v1/uploads/1", NOW + timedelta(days=1))
    assert {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "new").iterdir()} == {
        "uploads.json": 0o600,
        "uploads.lock": 0o600,
    }
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_entries_that_are_written_at_the_same_time_all_stay(tmp_path: Path) -> None:
    def record(number: int) -> None:
        state = UploadStateFile(tmp_path / "uploads.json", lambda: NOW)
        state.record(str(number), FILE, f"/v1/uploads/{number}", NOW + timedelta(days=1))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(record, range(40)))
    state = UploadStateFile(tmp_path / "uploads.json", lambda: NOW)
    assert [state.find(str(number)) for number in range(40)] == [f"/v1/uploads/{number}" for number in range(40)]


def test_identity_is_of_server_account_file_specification_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_bytes(b"x")
    file, server = stat_file(Path("a.mp4")), "http://127.0.0.1:8000"
    same = {
        upload_identity(server, "u-1", file, None, None),
        upload_identity(f"{server}/", "u-1", replace(file, path=tmp_path / "a.mp4"), None, None),
    }
    others = {
        upload_identity("http://127.0.0.1:8001", "u-1", file, None, None),
        upload_identity(server, "u-2", file, None, None),
        upload_identity(server, "u-1", replace(file, path=Path("b.mp4")), None, None),
        upload_identity(server, "u-1", replace(file, size=2), None, None),
        upload_identity(server, "u-1", replace(file, mtime_ns=1), None, None),
        upload_identity(server, "u-1", file, "{}", None),
        upload_identity(server, "u-1", file, None, "mine"),
    }
    assert (len(same), len(others), len(same | others)) == (1, 7, 8)

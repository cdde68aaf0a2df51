"""`fotograma extract --dry-run` prints what an extraction would do, and does nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.cli.app import main
from db.values.frame_spec import canonical, parse
from fotograma import Client
from tests.support.clients.fake_service import FakeService
from tests.support.clients.fake_service_http_server import serve_fake_service
from tests.support.videos.clips import ClipByName

ESTIMATE = {"frames": 9, "bytes": 1_500_000, "seconds": 2.0}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    fake = FakeService()
    with serve_fake_service(fake) as url:
        monkeypatch.setenv("FOTOGRAMA_URL", url)
        monkeypatch.setenv("FOTOGRAMA_API_KEY", "fg_key")
        yield fake


@pytest.fixture
def folder(clips: ClipByName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(clips("h264")[0], folder / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    return folder


def dry_run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(["extract", *arguments, "--dry-run"])
    out, err = capsys.readouterr()
    return int(exit_info.value.code or 0), out, err


def items(out: str) -> list[dict[str, Any]]:
    parsed: list[dict[str, Any]] = json.loads(out)["items"]
    return parsed


def test_dry_run_prints_sizes_exact_frames_and_the_estimate_and_does_nothing(
    service: FakeService, folder: Path, capsys: pytest.CaptureFixture[str], clips: ClipByName
) -> None:
    service.estimate = ESTIMATE
    frames = len(clips("h264")[1].shown)
    arguments = ("videos", "--spec", '{"sample": {"mode": "all"}}')
    code, out, err = dry_run(capsys, *arguments)
    size = (folder / "clip.mp4").stat().st_size
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"videos/clip.mp4: {size / 1e6:.1f} MB → frames/clip.zip: {frames} frames, about 1.5 MB, 2 s of one worker",
        f"1 video, {size / 1e6:.1f} MB: {frames} frames, about 1.5 MB, 2 s of one worker",
    ]
    document = json.loads(dry_run(capsys, *arguments, "--json")[1])
    assert document["items"][0]["estimate"] == ESTIMATE
    assert document["summary"] == {
        "videos": 1, "failed": 0, "size": size, "reused": 0, "send_bytes": size,
        "frames": frames, "bytes": 1_500_000, "seconds": 2.0,
    }  # fmt: skip
    calls = {(request.method, request.path) for request in service.requests}
    assert calls == {("GET", "/v1/videos"), ("POST", "/v1/estimates")}
    assert not (folder.parent / "frames").exists()


def test_dry_run_prints_what_the_service_and_the_output_folder_have_already(
    service: FakeService, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, mark in (("clip.mp4", b""), ("done.mp4", b"."), ("new.mp4", b".."), ("other.mp4", b"...")):
        (folder / name).write_bytes((folder / "clip.mp4").read_bytes() + mark)
    (folder.parent / "frames").mkdir()
    spec = json.loads(canonical(parse("{}")))
    with Client(os.environ["FOTOGRAMA_URL"], "fg_key") as client:
        client.upload(folder / "clip.mp4", spec)
        done = client.upload(folder / "done.mp4", spec)
        client.upload(folder / "other.mp4", {**spec, "max_frames": 1})
        client.download(client.wait(done.extraction), folder.parent / "frames" / "done.zip")
    service.requests.clear()
    code, out, err = dry_run(capsys, "videos")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].endswith("; not sent, the service has its extraction")
    assert lines[1].endswith("; nothing to do, the archive is there")
    assert "sent" not in lines[2]
    assert lines[3].endswith("; not sent, the service has its video")
    assert f"({(folder / 'new.mp4').stat().st_size / 1e6:.1f} MB to send)" in lines[4]
    listed = items(dry_run(capsys, "videos", "--json")[1])
    assert [item["reused"] for item in listed] == ["extraction", "archive", None, "video"]
    assert [item["video_id"] for item in listed] == ["v-1", "v-2", None, "v-3"]
    assert {request.method for request in service.requests} == {"GET", "POST"}
    assert not service.requests_to("POST", "/v1/uploads")


def test_service_without_estimates_is_no_error(
    service: FakeService, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = dry_run(capsys, "videos", "--json")
    assert (code, err, items(out)[0]["estimate"]) == (0, "", None)
    assert items(out)[0]["frames"] > 0


def test_without_a_session_the_files_are_listed_and_the_reason_is_printed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("FOTOGRAMA_API_KEY", raising=False)
    code, out, err = dry_run(capsys, "videos")
    assert (code, len(out.splitlines())) == (0, 2)
    assert "You are not logged in" in err
    assert dry_run(capsys, "videos", "--local")[2] == ""


@pytest.mark.usefixtures("service")
def test_file_that_cannot_be_extracted_is_named_and_the_exit_code_is_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "notes.mp4").write_text("dear diary")
    code, out, _ = dry_run(capsys, "videos", "missing.mp4", "--json")
    assert code == 1
    assert [item["error"] and item["error"]["code"] for item in items(out)] == [None, "not_a_video", "local_file"]
    assert "videos/notes.mp4: would fail: " in dry_run(capsys, "videos")[1]


def test_invalid_specification_is_reported_before_any_file_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = dry_run(capsys, "missing.mp4", "--spec", '{"max_frames": 0}')
    assert code == 2
    assert "max_frames" in err

"""`fotograma extract --local`: the engine runs on the user's machine, in decoding children, without a server."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import psutil
import pytest

from actors.engine.extract import extract
from cluster import installed_engine
from cluster.cli.app import main
from db.values.frame_spec import parse
from tests.support.own_process import command_of
from tests.support.programs import run_cli_command
from tests.support.videos.clips import ClipByName, write_text_file

SPEC = '{"sample": {"mode": "every_nth", "n": 10}}'


def run_fotograma(*arguments: str | Path) -> int:
    """Runs the command line in this process; returns its exit code."""
    try:
        return main([*map(str, arguments)])
    except SystemExit as system_exit:
        return int(system_exit.code or 0)


def test_each_file_gives_the_same_archive_as_the_engine(clips: ClipByName, tmp_path: Path) -> None:
    sources = [clips(name)[0] for name in ("h264_b_frames", "vp9_webm", "mpegts")]
    assert run_fotograma("extract", "--local", *sources, "--spec", SPEC, "-o", tmp_path / "out") == 0
    for source in sources:
        (folder := tmp_path / source.stem).mkdir()
        expected = extract(source, parse(SPEC), folder)
        archive = (tmp_path / "out" / f"{source.stem}.zip").read_bytes()
        assert hashlib.sha256(archive).hexdigest() == expected.sha256
    assert len(list((tmp_path / "out").iterdir())) == len(sources)


def test_non_video_fails_alone_with_its_reason(
    clips: ClipByName, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good, bad = clips("h264")[0], tmp_path / "notes.mp4"
    write_text_file(bad)
    assert run_fotograma("extract", "--local", bad, good, "--fps", "2", "-o", tmp_path / "out") == 3
    out, err = capfd.readouterr()
    assert f"{good}: 4 frames" in out
    assert "1 of 2 not done" in err
    assert "(not_a_video)" in err
    assert "Send MP4" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{good.stem}.zip"]


def test_images_are_unpacked_and_results_printed_as_json(
    clips: ClipByName, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = clips("h264")[0]
    assert run_fotograma("extract", "--local", source, "--spec", SPEC, "-o", tmp_path, "--unpack", "--json") == 0
    (item,) = json.loads(capfd.readouterr().out)["items"]
    folder = Path(item["folder"])
    assert (item["frames"], item["error"], item["video_id"]) == (6, None, None)
    assert len(list(folder.glob("frame_*.jpg"))) == 6
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["video"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    video = json.loads((folder / "video.json").read_text())
    assert (video["filename"], video["video_id"], video["extraction_id"]) == (source.name, None, None)
    assert video["started_at"] < video["finished_at"]


def test_invalid_specification_is_refused_before_any_extraction(
    clips: ClipByName, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = '{"sample": {"mode": "every_nth", "n": 0}}'
    assert run_fotograma("extract", "--local", clips("h264")[0], "--spec", spec, "-o", tmp_path / "out") == 2
    assert "sample.n" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_fork_server_that_was_started_ahead_and_gets_no_video_is_ended(clips: ClipByName, tmp_path: Path) -> None:
    before = psutil.Process().children()
    (tmp_path / "out").write_text("a file, where the folder of the results would be")
    assert run_fotograma("extract", "--local", clips("h264")[0], "-o", tmp_path / "out") == 2
    started = set(psutil.Process().children()) - set(before)
    assert [child for child in started if "actors.sandbox.fork_server_entry" in child.cmdline()] == []


def test_missing_engine_names_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installed_engine, "find_spec", lambda name: None)
    assert run_fotograma("extract", "--local", tmp_path / "a.mp4", "-o", tmp_path) == 1
    assert 'pip install "fotograma[engine]"' in capfd.readouterr().err


def test_local_extract_imports_neither_server_nor_ray_nor_ffmpeg(clips: ClipByName, tmp_path: Path) -> None:
    command = command_of(run_cli_command, "extract", "--local", clips("h264")[0], "-o", tmp_path, "--json")
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert completed.stdout.rstrip().endswith("[]")
    assert list(tmp_path.glob("*.zip"))

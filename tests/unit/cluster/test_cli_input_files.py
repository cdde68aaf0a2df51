"""Which files a command reads: the named ones, and the videos in named folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.cli.input_files import input_files


def test_a_folder_gives_the_videos_in_and_below_it_without_hidden_ones(tmp_path: Path) -> None:
    named = tmp_path / "odd.name"
    for name in ("b.MP4", "a.mkv", "notes.txt", "below/c.webm", ".trash/d.mp4", "._a.mkv", "odd.name"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = [str(path.relative_to(tmp_path)) for path in input_files([named, tmp_path])]
    assert found == ["odd.name", "a.mkv", "b.MP4", "below/c.webm"]


@pytest.mark.parametrize("suffix", [".ogv", ".ogg"])
def test_a_folder_gives_no_ogg_file_because_the_service_accepts_none(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"video{suffix}").write_bytes(b"OggS")
    assert input_files([tmp_path]) == []


@pytest.mark.parametrize("name", ["none.mp4", "none"])
def test_a_missing_path_is_returned_as_it_is(tmp_path: Path, name: str) -> None:
    assert input_files([tmp_path / name]) == [tmp_path / name]

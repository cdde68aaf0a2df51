"""Which files a command reads: the named ones, and the videos in named folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.cli.input_files import input_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.MP4", "a.mkv", "notes.txt", "below/c.webm", ".trash/d.mp4", "._a.mkv", "odd.name", "a[1].mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def found(folder: Path, *arguments: str, recursive: bool = False) -> list[str]:
    paths = input_files([folder / argument for argument in arguments], recursive=recursive)
    return [str(path.relative_to(folder)) for path in paths]


def test_folder_gives_its_videos_without_hidden_ones(folder: Path) -> None:
    assert found(folder, "odd.name", ".") == ["odd.name", "a.mkv", "a[1].mp4", "b.MP4"]


def test_folder_gives_the_videos_below_it_when_asked(folder: Path) -> None:
    assert found(folder, ".", recursive=True) == ["a.mkv", "a[1].mp4", "b.MP4", "below/c.webm"]


def test_quoted_pattern_gives_what_a_shell_would_give(folder: Path) -> None:
    assert found(folder, "[ab]*") == ["a.mkv", "a[1].mp4", "b.MP4", "below/c.webm"]
    assert found(folder, "**/*.webm") == ["below/c.webm"]
    assert found(folder, "*.txt") == ["notes.txt"]


def test_name_with_the_signs_of_a_pattern_is_a_name_when_there_is_such_a_file(folder: Path) -> None:
    assert found(folder, "a[1].mp4") == ["a[1].mp4"]


def test_pattern_without_a_match_comes_as_it_is(folder: Path) -> None:
    assert found(folder, "z*.mp4") == ["z*.mp4"]


def test_file_that_is_named_in_several_ways_comes_once(folder: Path) -> None:
    assert found(folder, "a.mkv", "*.mkv", ".", "below/../a.mkv") == ["a.mkv", "a[1].mp4", "b.MP4"]


@pytest.mark.parametrize("suffix", [".ogv", ".ogg"])
def test_a_folder_gives_no_ogg_file_because_the_service_accepts_none(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"video{suffix}").write_bytes(b"OggS")
    assert input_files([tmp_path]) == []


@pytest.mark.parametrize("name", ["none.mp4", "none"])
def test_a_missing_path_is_returned_as_it_is(tmp_path: Path, name: str) -> None:
    assert input_files([tmp_path / name]) == [tmp_path / name]

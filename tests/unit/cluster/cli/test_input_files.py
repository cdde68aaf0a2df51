"""The files that a command reads: those given, and the videos in given folders."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from cluster.cli.batch.input_files import input_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.MP4", "a.mkv", "notes.txt", "below/c.webm", ".trash/d.mp4", "._a.mkv", "odd.name", "a[1].mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def input_names(folder: Path, *arguments: str, recursive: bool = False) -> list[str]:
    paths = input_files([folder / argument for argument in arguments], recursive=recursive)
    return [str(path.relative_to(folder)) for path in paths]


def test_folder_gives_its_videos_without_hidden_ones(folder: Path) -> None:
    assert input_names(folder, "odd.name", ".") == ["odd.name", "a.mkv", "a[1].mp4", "b.MP4"]


def test_recursive_folder_gives_the_videos_below_it(folder: Path) -> None:
    assert input_names(folder, ".", recursive=True) == ["a.mkv", "a[1].mp4", "b.MP4", "below/c.webm"]


def test_quoted_pattern_gives_what_a_shell_would_give(folder: Path) -> None:
    assert input_names(folder, "[ab]*") == ["a.mkv", "a[1].mp4", "b.MP4", "below/c.webm"]
    assert input_names(folder, "**/*.webm") == ["below/c.webm"]
    assert input_names(folder, "*.txt") == ["notes.txt"]


def test_existing_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    assert input_names(folder, "a[1].mp4") == ["a[1].mp4"]


def test_pattern_without_a_match_is_returned_unchanged(folder: Path) -> None:
    assert input_names(folder, "z*.mp4") == ["z*.mp4"]


def test_file_that_is_given_in_several_ways_is_read_once(folder: Path) -> None:
    assert input_names(folder, "a.mkv", "*.mkv", ".", "below/../a.mkv") == ["a.mkv", "a[1].mp4", "b.MP4"]


def test_file_that_links_between_folders_lead_to_in_several_ways_is_read_once(folder: Path) -> None:
    (folder / "below" / "loop").symlink_to(folder)
    assert input_names(folder, ".", recursive=True) == ["a.mkv", "a[1].mp4", "b.MP4", "below/c.webm"]
    assert input_names(folder, "**/*.webm") == ["below/c.webm"]
    (folder / "link.mp4").symlink_to(folder / "b.MP4")
    assert input_names(folder, "b.MP4", "link.mp4") == ["b.MP4", "link.mp4"]


@pytest.mark.parametrize("recursive", [False, True])
def test_unreadable_folder_is_reported_and_the_others_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, recursive: bool
) -> None:
    locked, scandir = folder if not recursive else folder / "below", os.scandir

    def refuse(path: str) -> Any:
        if Path(path) == locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    errors: list[OSError] = []
    paths = input_files([folder, folder / "odd.name"], recursive=recursive, on_unreadable=errors.append)
    assert folder / "odd.name" in paths
    assert (folder / "a.mkv" in paths) is recursive
    assert [error.filename for error in errors] == [str(locked)]


@pytest.mark.parametrize("suffix", [".ogv", ".ogg"])
def test_folder_gives_no_ogg_file_because_the_service_accepts_none(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"video{suffix}").write_bytes(b"OggS")
    assert input_files([tmp_path]) == []


@pytest.mark.parametrize("name", ["none.mp4", "none"])
def test_missing_path_is_returned_unchanged(tmp_path: Path, name: str) -> None:
    assert input_files([tmp_path / name]) == [tmp_path / name]

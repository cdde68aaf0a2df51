"""Finds the input files of a command: named files, the videos in named folders, and the matches of patterns."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

SUFFIXES = frozenset(
    {
        ".3gp",
        ".asf",
        ".avi",
        ".flv",
        ".m2ts",
        ".m2v",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
    }
)
"""Suffixes of the containers that the service accepts. A named file may have any suffix."""


OnUnreadable = Callable[[OSError], None]


def input_files(
    paths: Iterable[Path], *, recursive: bool = False, on_unreadable: OnUnreadable | None = None
) -> list[Path]:
    """Returns named files, the videos in named folders (sorted, without hidden ones) and the matches of patterns. Each
    file comes once, also when links between folders lead to it in several ways.

    recursive: also the videos in subfolders. Links to folders below are not followed. on_unreadable: called for each
    folder that can't be read. A pattern that matches nothing is returned unchanged, like a missing file.
    """
    found: dict[str, Path] = {}
    for path in (match for argument in paths for match in _matches(argument)):
        for file in _videos(path, recursive, on_unreadable) if path.is_dir() else [path]:
            found.setdefault(os.path.join(os.path.realpath(file.parent), file.name), file)
    return list(found.values())


@contextmanager
def file_of_stdin(name: str) -> Iterator[Path]:
    """Writes the video on standard input to a temporary file of this name. Raises typer.BadParameter."""
    if name != Path(name).name or name in {"", ".", ".."}:
        raise typer.BadParameter(f"{name!r} is not a plain file name, such as talk.mp4.", param_hint="--stdin-name")
    if sys.stdin.isatty():
        detail = "standard input is a terminal. Send a video to it: cat talk.mp4 | fotograma extract -"
        raise typer.BadParameter(detail, param_hint="FILES")
    with tempfile.TemporaryDirectory(prefix="fotograma-") as folder:
        path = Path(folder, name)
        with path.open("xb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        yield path


def _matches(path: Path) -> list[Path]:
    """Returns the matches of a pattern. A shell does not expand a quoted pattern, or one with too many matches."""
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [path]
    return [Path(match) for match in sorted(glob.iglob(str(path), recursive=True))] or [path]


def _videos(folder: Path, recursive: bool, on_unreadable: OnUnreadable | None) -> list[Path]:
    found = []
    for place, below, names in os.walk(folder, onerror=on_unreadable):
        below[:] = [name for name in below if recursive and not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES and path.is_file())

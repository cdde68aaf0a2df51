"""Finds the input files of a command: named files, the videos in named folders, and the matches of patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

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


def input_files(paths: Iterable[Path], *, recursive: bool = False) -> list[Path]:
    """Returns named files, the videos in named folders (sorted, without hidden ones) and the matches of patterns. Each
    file comes once.

    recursive: also the videos in subfolders. A pattern that matches nothing is returned unchanged, like a missing file.
    Raises OSError.
    """
    found: dict[str, Path] = {}
    for path in (match for argument in paths for match in _matches(argument)):
        for file in _videos(path, recursive) if path.is_dir() else [path]:
            found.setdefault(os.path.abspath(file), file)
    return list(found.values())


def _matches(path: Path) -> list[Path]:
    """Returns the matches of a pattern. A shell does not expand a quoted pattern, or one with too many matches."""
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [path]
    return [Path(match) for match in sorted(glob.iglob(str(path), recursive=True))] or [path]


def _videos(folder: Path, recursive: bool) -> list[Path]:
    return sorted(
        path
        for path in (folder.rglob("*") if recursive else folder.iterdir())
        if path.suffix.lower() in SUFFIXES and path.is_file() and not _is_hidden(path.relative_to(folder))
    )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)

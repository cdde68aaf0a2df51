"""The input files of a command: the named files, and the videos in the named folders."""

from __future__ import annotations

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
"""Suffixes of the containers that the service accepts. A file that is named itself may have any suffix."""


def input_files(paths: Iterable[Path]) -> list[Path]:
    """Returns named files as they are, and all videos in and below a named folder, sorted, without hidden ones.

    Raises OSError.
    """
    return [file for path in paths for file in (_videos(path) if path.is_dir() else [path])]


def _videos(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not _is_hidden(path.relative_to(folder))
    )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)

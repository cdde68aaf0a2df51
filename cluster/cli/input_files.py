"""Which files a command line means: those it names, and the videos in the folders it names."""

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
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
    }
)
"""Of the containers that the service takes. A file that is named itself is taken whatever its suffix."""


def sources(paths: Iterable[Path]) -> list[Path]:
    """Files as they are; of a folder, all videos in it and below, by name, hidden ones left out. Raises OSError."""
    return [file for path in paths for file in (_videos(path) if path.is_dir() else [path])]


def _videos(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not _is_hidden(path.relative_to(folder))
    )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)

"""Copies of folders as hard links, which need no disk space and little time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

Ignore = Callable[[str, list[str]], Iterable[str]]
"""Gets a folder and the names in it; returns the names to leave out."""


def make_hard_link_tree(source: Path, target: Path, *, ignore: Ignore | None = None) -> Path:
    """Makes a tree of hard links. Returns `target`."""
    shutil.copytree(source, target, symlinks=True, copy_function=_link_or_copy, ignore=ignore)
    return target


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)

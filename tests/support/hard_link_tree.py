"""Copies of whole trees that cost neither room nor time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

Ignore = Callable[[str, list[str]], Iterable[str]]
"""What is left out: of a folder and the names in it."""


def make_hard_link_tree(source: Path, target: Path, *, ignore: Ignore | None = None) -> Path:
    """A tree of hard links. Gives `target`."""
    shutil.copytree(source, target, symlinks=True, copy_function=_link_or_copy, ignore=ignore)
    return target


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)

"""Runs tests on mutants: each mutant is an edited copy of the source tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.faults.mutants.catalogue import Mutant

REPOSITORY = Path(__file__).parents[3]
COPIED = ("db", "actors", "serve_app", "cluster", "tests", "pyproject.toml")
TESTS_FAILED = 1
"""pytest's exit code when tests ran and some failed. Another code means that the tree can't be imported."""
TRIAL_SECONDS = 120


def copy_tree(folder: Path) -> Path:
    """Copies the source tree. Tests that run in the copy import the copy's packages."""
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def mutate(folder: Path, mutant: Mutant) -> None:
    """Makes the edits. Raises ValueError when an edit's old text does not stand exactly once in its file."""
    for edit in mutant.edits:
        path = folder / edit.path
        source = path.read_text(encoding="utf-8")
        if (times := source.count(edit.old)) != 1:
            raise ValueError(f"{mutant.name}: stands {times} times in {edit.path}: {edit.old!r}")
        path.write_text(source.replace(edit.old, edit.new), encoding="utf-8")


def outcome_of(folder: Path, tests: Sequence[str]) -> tuple[int, str]:
    """pytest's exit code in a copied tree, and what it wrote."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TRIAL_SECONDS, check=False
    )
    return done.returncode, done.stdout + done.stderr

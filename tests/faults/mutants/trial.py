"""Runs tests on mutants: each mutant is an edited copy of the source tree."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.mutants.catalogue import Mutant
from tests.support.hard_link_tree import make_hard_link_tree
from tests.support.servers.real_servers import SERVER_FOLDER_VARIABLE

REPOSITORY = Path(__file__).parents[3]
COPIED = ("db", "actors", "serve_app", "cluster", "tests")
TESTS_FAILED = 1
"""pytest's exit code when tests ran and some failed. Another code means that the tree can't be imported."""
TRIAL_SECONDS = 600

# Importing the packages of others takes more processor time than a test: one process imports them, and each trial is a
# fork of it. A missing name only makes the trials slower.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("alembic.command", "av", "bcrypt", "httpx", "hypothesis", "jwt", "numpy", "psycopg", "pydantic", "pytest"),
        *("pytest_asyncio", "redis.asyncio", "sqlalchemy.ext.asyncio", "starlette.applications", "xdist"),
    ]
)


def copy_tree(folder: Path) -> Path:
    """Copies the source tree as hard links. Tests that run in the copy import the copy's packages."""
    for name in COPIED:
        make_hard_link_tree(REPOSITORY / name, folder / name)
    (folder / "pyproject.toml").write_bytes((REPOSITORY / "pyproject.toml").read_bytes())
    return folder


def mutate(folder: Path, mutant: Mutant) -> None:
    """Makes the edits. Raises ValueError when an edit's old text does not stand exactly once in its file."""
    for edit in mutant.edits:
        path = folder / edit.path
        source = path.read_text(encoding="utf-8")
        if (times := source.count(edit.old)) != 1:
            raise ValueError(f"{mutant.name}: stands {times} times in {edit.path}: {edit.old!r}")
        # The original has the same inode.
        path.unlink()
        path.write_text(source.replace(edit.old, edit.new), encoding="utf-8")


def outcome_of(folder: Path, tests: Sequence[str], *, servers: Path | None = None) -> tuple[int | None, str]:
    """pytest's exit code in a copied tree, and what it wrote. The code is None when the trial took too long.

    servers: the folder of running servers, which the tests use; without it they start their own.
    """
    output = folder / "output"
    trial = _FORKS.Process(target=_run_tests, args=[folder, tests, output, servers])
    trial.start()
    trial.join(TRIAL_SECONDS)
    code = trial.exitcode
    trial.kill()
    trial.join()
    return code, output.read_text(encoding="utf-8", errors="replace")


def _run_tests(folder: Path, tests: Sequence[str], output: Path, servers: Path | None) -> None:
    """Runs in the fork. It imports our packages anew, from the copied tree."""
    with output.open("wb") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    for module in [module for module in sys.modules if module.partition(".")[0] in COPIED]:
        del sys.modules[module]
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    # Processes that the tests start import the copy as well.
    os.environ["PYTHONPATH"] = str(folder)
    if servers is not None:
        os.environ[SERVER_FOLDER_VARIABLE] = str(servers)
    # Without assertion rewriting, which is for those who read a failure.
    sys.exit(int(pytest.main(["-q", "-x", "--assert=plain", "-p", "no:cacheprovider", *tests])))

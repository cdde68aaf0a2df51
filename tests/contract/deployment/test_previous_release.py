"""Which release `tests/previous_release/try_new_schema.sh` tries. A stand-in of uv notes where the tests would run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "previous_release/try_new_schema.sh"
UV = """#!/bin/sh
[ "$1" = sync ] || echo "$(cat version) $(basename "$FOTOGRAMA_NEW_SCHEMA") $*" >> "$UV_LOG"
"""
IDENTITY = ["-c", "user.name=test", "-c", "user.email=test@example.org"]


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", folder, *IDENTITY, *arguments], check=True, capture_output=True)


def commit(folder: Path, version: str, *tags: str) -> None:
    (folder / "version").write_text(version)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", version)
    for tag in tags:
        git(folder, "tag", tag)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    shutil.copy(SCRIPT, folder / SCRIPT.name)
    commit(folder, "0.1.0")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "uv").write_text(UV)
    (programs / "uv").chmod(0o755)
    return folder


def try_new_schema(folder: Path) -> tuple[int, str, list[str]]:
    """Exit code, output, and the runs of the tests: version, folder of the schema, and command line."""
    log = folder.parent / "uv.log"
    path = f"{folder.parent / 'programs'}{os.pathsep}{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(
        [folder / SCRIPT.name],
        cwd=folder,
        env={**environment, "PATH": path, "UV_LOG": str(log)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, log.read_text().splitlines() if log.exists() else []


def test_without_a_release_it_says_so_and_passes(repository: Path) -> None:
    code, output, runs = try_new_schema(repository)
    assert (code, output, runs) == (0, "There is no release before this commit: nothing to try.\n", [])


def test_newest_release_before_this_commit_is_tried(repository: Path) -> None:
    git(repository, "tag", "v0.9.0")
    git(repository, "tag", "latest")
    commit(repository, "0.10.0", "v0.10.0")
    git(repository, "checkout", "--quiet", "-b", "other")
    commit(repository, "2.0.0", "v2.0.0")
    git(repository, "checkout", "--quiet", "main")
    # The release workflow runs on the tag of the release itself.
    commit(repository, "1.0.0", "v1.0.0")
    code, output, runs = try_new_schema(repository)
    assert (code, len(runs)) == (0, 1), output
    assert "The tests of v0.10.0 run on the schema of" in output
    version, schema, *command = runs[0].split()
    assert (version, schema) == ("0.10.0", "repository")
    assert command[-5:] == ["-n", "0", "tests/integration/db", "--ignore", "tests/integration/db/test_schema.py"]
    worktrees = subprocess.run(
        ["git", "-C", repository, "worktree", "list"], check=True, capture_output=True, text=True
    )
    assert len(worktrees.stdout.splitlines()) == 1


def test_failed_tests_of_the_release_fail_it(repository: Path) -> None:
    git(repository, "tag", "v0.1.0")
    commit(repository, "0.2.0")
    uv = repository.parent / "programs/uv"
    uv.write_text(UV + '[ "$1" = sync ] || exit 1\n')
    code, _, runs = try_new_schema(repository)
    assert (code, len(runs)) == (1, 1)


def test_clone_without_history_is_refused(repository: Path) -> None:
    git(repository, "tag", "v0.1.0")
    commit(repository, "0.2.0")
    shallow = repository.parent / "shallow"
    git(repository.parent, "clone", "--quiet", "--depth=1", f"file://{repository}", str(shallow))
    code, output, runs = try_new_schema(shallow)
    assert (code, runs) == (1, [])
    assert "has no history" in output

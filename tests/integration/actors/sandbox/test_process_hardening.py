"""A decoding child cannot read environment or memory of another process, whichever user runs it."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.sandbox.process_hardening import drop_capabilities, hide_memory, isolate
from tests.support.own_process import command_of
from tests.support.programs import look_at_parent, worker_with_one_child
from tests.support.videos.clips import ClipByName

ORDINARY_USER = 65_534
USERS = [0, ORDINARY_USER] if os.geteuid() == 0 else [os.geteuid()]
PROC_FILES = ("environ", "mem", "maps")

READ_PARENT = f"""
found = {{}}
for name in {PROC_FILES}:
    try:
        found[name] = len(open(f"/proc/{{os.getppid()}}/{{name}}", "rb").read(10))
    except OSError as error:
        found[name] = type(error).__name__
(out / "found").write_text(json.dumps(found))
"""


def test_child_cannot_read_environment_and_memory_of_its_worker(clips: ClipByName, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    environment = os.environ | {
        "FOTOGRAMA_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "FOTOGRAMA_OBJECTS_URL": f"file://{tmp_path}/objects",
        "FOTOGRAMA_SECRET_KEY": "of the worker alone" * 2,
        "FOTOGRAMA_SCRATCH": str(tmp_path / "scratch"),
    }
    command = command_of(worker_with_one_child, clips("h264")[0], out, READ_PARENT)
    completed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    assert completed.stdout == "Extracted\n"
    assert json.loads((out / "found").read_text()) == dict.fromkeys(PROC_FILES, "PermissionError")


def read_parent(
    user: int, victim: Callable[[], None] | None, reader: Callable[..., object] | None, *, landlock: bool = True
) -> set[str]:
    """Lets a process read its parent in /proc; returns the errors, or "opened".

    victim, reader: what the parent and the process call before. landlock: False simulates a kernel without Landlock.
    """
    names = [step.__name__ if step else "" for step in (victim, reader)]
    command = command_of(look_at_parent, user, "landlock" if landlock else "", *names)
    return set(subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout.split())


@pytest.mark.parametrize("user", USERS)
def test_process_without_isolation_reads_other_processes_of_its_user(user: int) -> None:
    assert read_parent(user, None, None) == {"opened"}


@pytest.mark.parametrize("user", USERS)
def test_isolated_process_reads_nothing_of_dumpable_processes(user: int) -> None:
    """Ray's own processes inherit the secrets, and can't hide their memory."""
    assert read_parent(user, None, isolate) == {"PermissionError"}


@pytest.mark.parametrize("user", USERS)
def test_non_dumpable_process_is_unreadable_without_capabilities(user: int) -> None:
    """This does not need Landlock."""
    assert read_parent(user, hide_memory, drop_capabilities) == {"PermissionError"}


@pytest.mark.parametrize("user", [user for user in USERS if user == 0])
def test_root_without_capabilities_reads_nothing_of_root_with_capabilities(user: int) -> None:
    assert read_parent(user, None, drop_capabilities) == {"PermissionError"}


@pytest.mark.parametrize("user", USERS)
def test_isolated_process_reads_nothing_of_others_without_landlock(user: int) -> None:
    """An ordinary user's process enters its own user namespace. A process of root gives up its capabilities."""
    assert read_parent(user, None, isolate, landlock=False) == {"PermissionError"}

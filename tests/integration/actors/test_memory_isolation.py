"""A decoding child cannot read environment or memory of another process, whichever user runs it."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.sandbox.memory_isolation import drop_capabilities, hide_memory, isolate
from tests.support.own_process import command_of
from tests.support.programs import look_at_parent, worker_with_one_child
from tests.support.videos.clips import ClipByName

ORDINARY = 65_534
USERS = [0, ORDINARY] if os.geteuid() == 0 else [os.geteuid()]
LOOKED_AT = ("environ", "mem", "maps")

LOOK = f"""
found = {{}}
for name in {LOOKED_AT}:
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
    command = command_of(worker_with_one_child, clips("h264")[0], out, LOOK)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    assert done.stdout == "Extracted\n"
    assert json.loads((out / "found").read_text()) == dict.fromkeys(LOOKED_AT, "PermissionError")


def look(
    user: int, victim: Callable[[], None] | None, spy: Callable[..., object] | None, *, landlock: bool = True
) -> set[str]:
    """What a process meets that looks at its parent.

    victim, spy: what each has done before. landlock: False for a kernel that has none.
    """
    names = [step.__name__ if step else "" for step in (victim, spy)]
    command = command_of(look_at_parent, user, "landlock" if landlock else "", *names)
    return set(subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout.split())


@pytest.mark.parametrize("user", USERS)
def test_process_without_isolation_reads_other_processes_of_its_user(user: int) -> None:
    assert look(user, None, None) == {"opened"}


@pytest.mark.parametrize("user", USERS)
def test_isolated_process_reads_nothing_of_dumpable_processes(user: int) -> None:
    """Ray's own processes, which inherit the secrets, can't hide theirs."""
    assert look(user, None, isolate) == {"PermissionError"}


@pytest.mark.parametrize("user", USERS)
def test_non_dumpable_process_is_unreadable_without_capabilities(user: int) -> None:
    """Whether the kernel has Landlock or not."""
    assert look(user, hide_memory, drop_capabilities) == {"PermissionError"}


@pytest.mark.parametrize("user", [user for user in USERS if user == 0])
def test_root_without_capabilities_reads_nothing_of_root_with_capabilities(user: int) -> None:
    assert look(user, None, drop_capabilities) == {"PermissionError"}


@pytest.mark.parametrize("user", USERS)
def test_isolated_process_reads_nothing_of_others_without_landlock(user: int) -> None:
    """An ordinary user's process enters a user namespace of its own; root's gives up its capabilities."""
    assert look(user, None, isolate, landlock=False) == {"PermissionError"}

"""A decoding child can't read the environment or the memory of another process, whoever runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.sandbox.process_isolation import drop_capabilities, hide_memory, isolate
from tests.support.clips import ClipByName

ORDINARY = 65_534
USERS = [0, ORDINARY] if os.geteuid() == 0 else [os.geteuid()]
LOOKED_AT = ("environ", "mem", "maps")

# Runs as a worker does, with a real child that looks at its parent before it tells its result.
WORKER = """
import asyncio, sys
from pathlib import Path
from actors.extraction_types import EngineOptions
from actors.sandbox.child_protocol import Job, Limits
from cluster.wiring.worker import open_worker
from tests.support.compromised_child import child_that_does

async def main():
    source, out, look = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    async with open_worker():
        child = await child_that_does(look)
        async def tell(news): pass
        job = Job(source, "{}", out, EngineOptions(), Limits(4 << 30, 60, 1 << 30, 60, 60))
        print(type(await child.run(job, tell)).__name__)

asyncio.run(main())
"""
LOOK = f"""
found = {{}}
for name in {LOOKED_AT}:
    try:
        found[name] = len(open(f"/proc/{{os.getppid()}}/{{name}}", "rb").read(10))
    except OSError as error:
        found[name] = type(error).__name__
(out / "found").write_text(json.dumps(found))
"""
# Parent and child of one user; the child looks at its parent.
PAIR = """
import ctypes, os, sys
user, landlock, victim, spy, *sys.path[:] = sys.argv[1:]
from actors.sandbox import process_isolation
if not landlock:
    process_isolation.enter_landlock_domain = lambda: False
if os.geteuid() != int(user):
    os.setresgid(*[int(user)] * 3)
    os.setresuid(*[int(user)] * 3)
# As exec leaves a process: open.
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
if victim:
    getattr(process_isolation, victim)()
parent = os.getpid()
if pid := os.fork():
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
if spy:
    getattr(process_isolation, spy)()
for name in ("environ", "mem"):
    try:
        os.close(os.open(f"/proc/{parent}/{name}", os.O_RDONLY))
        print("opened")
    except OSError as error:
        print(type(error).__name__)
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
    command = [sys.executable, "-c", WORKER, str(clips("h264")[0]), str(out), LOOK]
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
    command = [sys.executable, "-c", PAIR, str(user), "landlock" if landlock else "", *names, *sys.path]
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

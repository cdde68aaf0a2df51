"""The record of processes that a run started, so that the next one can end what a killed one left behind.

A process is told by its pid and its start time: a pid alone may belong to somebody else by now. Never by a name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.local.secret_files import write_private

SAME_START_SECONDS = 2.0
"""The start of a process is counted from the boot, which the system knows to a second."""
END_SECONDS = 4.0
KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True, order=True)
class RecordedProcess:
    """A process. started: seconds of the epoch."""

    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """What is known of a run. folder: its temporary one."""

    folder: Path | None = None
    processes: tuple[RecordedProcess, ...] = ()


def left_over(recorded: Iterable[RecordedProcess], started: Callable[[int], float | None]) -> list[RecordedProcess]:
    """Those that still run: the pid is there, with the same start. started: of a pid; None when there is none."""
    found = []
    for process in recorded:
        now = started(process.pid)
        if now is not None and abs(now - process.started) <= SAME_START_SECONDS:
            found.append(process)
    return found


def read(path: Path) -> RecordedRun:
    """What the last run recorded. A file that can't be understood records nothing."""
    try:
        document = json.loads(path.read_text())
        processes = tuple(RecordedProcess(int(pid), float(started)) for pid, started in document["processes"])
        return RecordedRun(Path(document["folder"]) if document["folder"] else None, processes)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return RecordedRun()


def write(path: Path, run: RecordedRun) -> None:
    """Replaces the record."""
    processes = [[process.pid, process.started] for process in run.processes]
    document: Mapping[str, object] = {"folder": str(run.folder or ""), "processes": processes}
    write_private(path, json.dumps(document))


def started(pid: int) -> float | None:
    """When the process with this pid began; None when there is none, or only its exit code is left."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def descendants(pid: int) -> tuple[RecordedProcess, ...]:
    """All processes below this one, ordered by pid."""
    return tuple(sorted(member for family in families(pid).values() for member in family))


def families(pid: int) -> dict[RecordedProcess, set[RecordedProcess]]:
    """The children of this process, each with all processes below it and itself."""
    parents: dict[int, int] = {}
    seen: dict[int, RecordedProcess] = {}
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                one, parent = RecordedProcess(process.pid, float(process.create_time())), process.ppid()
                seen[process.pid], parents[process.pid] = one, parent
    found: dict[RecordedProcess, set[RecordedProcess]] = {seen[child]: set() for child in seen if parents[child] == pid}
    for member_pid, member in seen.items():
        child = member_pid
        while parents.get(child, pid) != pid:
            child = parents[child]
        # One whose parent has just ended is nobody's child now.
        if child in seen and seen[child] in found:
            found[seen[child]].add(member)
    return found


def end(recorded: Iterable[RecordedProcess]) -> list[RecordedProcess]:
    """Ends those that still run and all below them: asked first, killed when they don't. Gives what was ended."""
    living = left_over(recorded, started)
    ended = sorted({*living, *(below for process in living for below in descendants(process.pid))})
    handles = _handles(ended)
    for handle in handles:
        with suppress(psutil.NoSuchProcess):
            handle.terminate()
    _, stubborn = psutil.wait_procs(handles, END_SECONDS)
    for handle in stubborn:
        with suppress(psutil.NoSuchProcess):
            handle.kill()
    psutil.wait_procs(stubborn, KILL_SECONDS)
    return ended


def _handles(processes: Sequence[RecordedProcess]) -> list[psutil.Process]:
    """psutil checks the start time again before it sends a signal."""
    handles = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            handle = psutil.Process(process.pid)
            if abs(handle.create_time() - process.started) <= SAME_START_SECONDS:
                handles.append(handle)
    return handles

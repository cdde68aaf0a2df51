"""The record of the processes that a run started. After a kill the next run reads it and ends them.

A process is identified by its pid and its start time, because the system gives a pid to another process later. A
name identifies no process.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.local.data_dir import DataDir
from cluster.local.secret_files import write_private

log = logging.getLogger(__name__)

SAME_START_SECONDS = 2.0
"""Two start times that differ by less are the same: the system counts them from the boot, to a second."""
END_SECONDS = 4.0
KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True, order=True)
class RecordedProcess:
    """start_time: seconds since the epoch."""

    pid: int
    start_time: float


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """folder: the run's temporary one; None when the record names none."""

    folder: Path | None = None
    processes: tuple[RecordedProcess, ...] = ()


def still_running(
    recorded: Iterable[RecordedProcess], start_time_of: Callable[[int], float | None]
) -> list[RecordedProcess]:
    """The recorded processes whose pid still runs with the same start time.

    start_time_of: returns the start time of a pid; None when no such process runs.
    """
    running = []
    for process in recorded:
        start_time = start_time_of(process.pid)
        if start_time is not None and abs(start_time - process.start_time) <= SAME_START_SECONDS:
            running.append(process)
    return running


def read_record(path: Path) -> RecordedRun:
    """Returns what the last run recorded; an empty record when the file is missing or damaged."""
    try:
        document = json.loads(path.read_text())
        processes = tuple(RecordedProcess(int(pid), float(start)) for pid, start in document["processes"])
        return RecordedRun(Path(document["folder"]) if document["folder"] else None, processes)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return RecordedRun()


def write_record(path: Path, run: RecordedRun) -> None:
    """Replaces the record."""
    processes = [[process.pid, process.start_time] for process in run.processes]
    document: Mapping[str, object] = {"folder": str(run.folder or ""), "processes": processes}
    write_private(path, json.dumps(document))


def start_time_of(pid: int) -> float | None:
    """Returns when the process with this pid started; None when no such process runs (a zombie does not run)."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def descendants(pid: int) -> tuple[RecordedProcess, ...]:
    """All processes below this one, ordered by pid."""
    return tuple(sorted(member for tree in process_trees(pid).values() for member in tree))


def process_trees(pid: int) -> dict[RecordedProcess, set[RecordedProcess]]:
    """The children of this process, each with its process tree: the child and all processes below it."""
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
        # A process whose parent has just ended belongs to no child.
        if child in seen and seen[child] in found:
            found[seen[child]].add(member)
    return found


def end_processes(recorded: Iterable[RecordedProcess]) -> list[RecordedProcess]:
    """Ends the recorded processes that still run and all below them: with SIGTERM, then SIGKILL. Returns them."""
    running = still_running(recorded, start_time_of)
    ended = sorted({*running, *(below for process in running for below in descendants(process.pid))})
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
            if abs(handle.create_time() - process.start_time) <= SAME_START_SECONDS:
                handles.append(handle)
    return handles


class ProcessRecorder:
    """Keeps the record of this run up to date. folder: the run's temporary one. Threads may share it.

    An orphan, whose parent died, stays in the process tree in which it was seen, as long as it runs.
    """

    def __init__(self, data_dir: DataDir, folder: Path) -> None:
        self._data_dir, self._folder = data_dir, folder
        self._lock = threading.Lock()
        self._trees: dict[RecordedProcess, set[RecordedProcess]] = {}
        self._written: RecordedRun | None = None

    def refresh(self) -> None:
        """Records all processes below this one, if they have changed."""
        with self._lock:
            trees = process_trees(os.getpid())
            for child, tree in self._trees.items():
                missing = tree - trees.get(child, set())
                trees.setdefault(child, set()).update(still_running(missing, start_time_of))
            self._trees = {child: tree for child, tree in trees.items() if tree}
            self._write(RecordedRun(self._folder, tuple(sorted(set().union(*self._trees.values())))))

    def end_process_tree(self, pid: int) -> None:
        """Ends the child that had this pid, and its process tree."""
        self.refresh()
        with self._lock:
            trees = [tree for child, tree in self._trees.items() if child.pid == pid]
        end_processes(set().union(*trees))

    def _write(self, run: RecordedRun) -> None:
        if run == self._written:
            return
        try:
            write_record(self._data_dir.record, run)
            self._written = run
        except OSError as error:
            # A full disk must not end the service. The next call tries again.
            log.warning("The record of processes could not be written: %s", error)

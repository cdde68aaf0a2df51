"""What the supervisor does beside starting servers: it listens to signals, and keeps the record of what it started."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from cluster.local import process_record
from cluster.local.data_dir import DataDir, make_run_folder, ray_folder, remove_run_folder

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Somebody asked this process to end."""


@contextmanager
def signals_raise() -> Iterator[None]:
    """In here, the first of SIGNALS raises Asked in the main thread; while all is being ended, more change nothing."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    listen()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen() -> None:
    """For `signals_raise`, and again when a library has put its own handlers in place of ours."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        ignore()
        raise StopRequested

    for number in SIGNALS:
        signal.signal(number, ask)


def ignore() -> None:
    """From now on SIGNALS change nothing; other than with SIG_IGN, processes that are started don't inherit that."""
    for number in SIGNALS:
        signal.signal(number, lambda _number, _frame: None)


def end_when_closed(descriptor: int) -> None:
    """Sends SIGTERM to this process when `descriptor`, a pipe from its parent, ends: the parent has died."""

    def watch() -> None:
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


class ProcessRecorder:
    """Keeps the record of this run up to date. folder: its temporary one. Threads may share it.

    The family of a child of this process is what is below the child, or was: who has left it (its parent died) belongs
    to it as long as it lives.
    """

    def __init__(self, data_dir: DataDir, folder: Path) -> None:
        self._data_dir, self._folder = data_dir, folder
        self._lock = threading.Lock()
        self._families: dict[process_record.RecordedProcess, set[process_record.RecordedProcess]] = {}
        self._written: process_record.RecordedRun | None = None

    def refresh(self) -> None:
        """Writes down all processes below this one, when they are others than before."""
        with self._lock:
            now = process_record.families(os.getpid())
            for child, family in self._families.items():
                gone = family - now.get(child, set())
                now.setdefault(child, set()).update(process_record.left_over(gone, process_record.started))
            self._families = {child: family for child, family in now.items() if family}
            self._write(process_record.RecordedRun(self._folder, tuple(sorted(set().union(*self._families.values())))))

    def end_family(self, pid: int) -> None:
        """Ends the child that had this pid, and its family."""
        self.refresh()
        with self._lock:
            families = [family for child, family in self._families.items() if child.pid == pid]
        process_record.end(set().union(*families))

    def _write(self, run: process_record.RecordedRun) -> None:
        if run == self._written:
            return
        try:
            process_record.write(self._data_dir.record, run)
            self._written = run
        except OSError as error:
            # A disk that is full must not end the service; the next call tries again.
            log.warning("The record of processes could not be written: %s", error)


@contextmanager
def run_folder(data_dir: DataDir) -> Iterator[Path]:
    """A temporary folder of this run. At the end Ray's logs in it are kept, and it goes with the record."""
    folder = make_run_folder()
    process_record.write(data_dir.record, process_record.RecordedRun(folder))
    try:
        yield folder
    finally:
        close_run(data_dir, folder)


def end_left_over(data_dir: DataDir) -> int:
    """Ends what a killed run left behind, processes and files; gives the number of processes. The lock is held."""
    run = process_record.read(data_dir.record)
    ended = process_record.end(run.processes)
    if run.folder is not None:
        close_run(data_dir, run.folder)
    data_dir.record.unlink(missing_ok=True)
    empty_scratch(data_dir)
    return len(ended)


def empty_scratch(data_dir: DataDir) -> None:
    """Removes what workers that were killed left there. None may run."""
    shutil.rmtree(data_dir.scratch, ignore_errors=True)
    data_dir.scratch.mkdir(mode=0o700, exist_ok=True)


def close_run(data_dir: DataDir, folder: Path) -> None:
    """Keeps Ray's logs of the run as `logs/ray` in the data_dir, and removes the run's folder and record."""
    keep_ray_logs(folder, data_dir.logs / "ray")
    remove_run_folder(folder)
    data_dir.record.unlink(missing_ok=True)


def keep_ray_logs(folder: Path, kept: Path) -> None:
    """Copies the logs of a run's last cluster, if there are any, in place of what `kept` held."""
    sessions = sorted(path for path in ray_folder(folder).glob("session_*/logs") if not path.parent.is_symlink())
    if sessions:
        if kept.is_symlink():
            kept.unlink()
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(sessions[-1], kept, symlinks=True, ignore_dangling_symlinks=True)

"""The processes and files of a killed run are cleaned up; one process at a time uses a data directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from cluster.local import process_record
from cluster.local.data_dir import DataDir, open_data_dir
from cluster.local.instance_lock import instance_lock
from cluster.local.process_record import ProcessRecorder, RecordedProcess, RecordedRun
from cluster.local.run_cleanup import clean_up_killed_run, run_folder
from cluster.local.startup_error import ExitCode, StartupError
from tests.support.own_process import command_of
from tests.support.programs import hold_instance_lock

STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)",
)
PARENT = (
    sys.executable,
    "-c",
    "import subprocess, time; subprocess.Popen(['sleep', '600']); print(1, flush=True); time.sleep(600)",
)


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    return open_data_dir(tmp_path / "a data directory")


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start_program(processes: ExitStack, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts the program and waits for its first line. The program is killed at the end of the test."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    processes.enter_context(process)
    processes.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def recorded(process: subprocess.Popen[bytes]) -> RecordedProcess:
    return RecordedProcess(process.pid, psutil.Process(process.pid).create_time())


def test_processes_of_a_killed_run_are_ended_with_their_descendants(data_dir: DataDir, processes: ExitStack) -> None:
    parent = start_program(processes, PARENT)
    (child,) = process_record.descendants(parent.pid)
    process_record.write_record(data_dir.record, RecordedRun(None, (recorded(parent),)))

    assert clean_up_killed_run(data_dir) == 2

    assert parent.poll() is not None
    assert process_record.start_time_of(child.pid) is None
    assert not data_dir.record.exists()


def test_process_that_ends_during_the_scan_has_no_process_tree(
    processes: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, alive = start_program(processes, PARENT), start_program(processes, PARENT)
    parent_of = psutil.Process.ppid

    def parent_unless_ended(process: psutil.Process) -> int:
        if process.pid == ended.pid:
            raise psutil.NoSuchProcess(process.pid)
        return int(parent_of(process))

    monkeypatch.setattr(psutil.Process, "ppid", parent_unless_ended)

    families = process_record.process_trees(os.getpid())

    assert recorded(alive) in families
    assert recorded(ended) not in families


def test_process_with_a_reused_pid_is_not_ended(data_dir: DataDir, processes: ExitStack) -> None:
    other_process = start_program(processes, PARENT)
    process_record.write_record(
        data_dir.record,
        RecordedRun(None, (RecordedProcess(other_process.pid, recorded(other_process).start_time - 60),)),
    )

    assert clean_up_killed_run(data_dir) == 0

    assert other_process.poll() is None


def test_process_that_ignores_sigterm_is_killed(
    data_dir: DataDir, processes: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_record, "END_SECONDS", 0.1)
    stubborn = start_program(processes, STUBBORN)
    process_record.write_record(data_dir.record, RecordedRun(None, (recorded(stubborn),)))

    clean_up_killed_run(data_dir)

    assert stubborn.poll() is not None


def test_files_of_a_killed_run_are_removed_and_its_logs_saved(data_dir: DataDir, tmp_path: Path) -> None:
    folder = tmp_path / "fotograma-run"
    logs = folder / "ray" / "session_1" / "logs"
    logs.mkdir(parents=True)
    (logs / "raylet.out").write_text("why it ended")
    (data_dir.scratch / "half").write_text("half a frame")
    process_record.write_record(data_dir.record, RecordedRun(folder))

    clean_up_killed_run(data_dir)

    assert not folder.exists()
    assert (data_dir.logs / "ray" / "raylet.out").read_text() == "why it ended"
    assert list(data_dir.scratch.iterdir()) == []


def test_record_contains_every_process_of_the_run(data_dir: DataDir, processes: ExitStack) -> None:
    with run_folder(data_dir) as folder:
        recorder = ProcessRecorder(data_dir, folder)
        parent = start_program(processes, PARENT)
        family = {recorded(parent), *process_record.descendants(parent.pid)}

        recorder.refresh()

        assert family <= set(process_record.read_record(data_dir.record).processes)
    assert not data_dir.record.exists()


def test_orphan_stays_in_the_record_until_its_end(data_dir: DataDir, processes: ExitStack) -> None:
    with run_folder(data_dir) as folder:
        recorder = ProcessRecorder(data_dir, folder)
        parent = start_program(processes, PARENT)
        (child,) = process_record.descendants(parent.pid)
        recorder.refresh()
        parent.kill()
        parent.wait()

        recorder.refresh()

        assert child in process_record.read_record(data_dir.record).processes
        process_record.end_processes([child])
        recorder.refresh()
        assert child not in process_record.read_record(data_dir.record).processes


def test_only_the_process_tree_of_the_child_is_ended(data_dir: DataDir, processes: ExitStack) -> None:
    with run_folder(data_dir) as folder:
        other, ended = start_program(processes, PARENT), start_program(processes, PARENT)

        ProcessRecorder(data_dir, folder).end_process_tree(ended.pid)

        assert ended.poll() is not None
        assert other.poll() is None


def test_orphan_is_ended_with_its_former_process_tree(data_dir: DataDir, processes: ExitStack) -> None:
    with run_folder(data_dir) as folder:
        recorder = ProcessRecorder(data_dir, folder)
        other, parent = start_program(processes, PARENT), start_program(processes, PARENT)
        (child,) = process_record.descendants(parent.pid)
        recorder.refresh()
        parent.kill()
        parent.wait()

        recorder.end_process_tree(parent.pid)

        assert process_record.still_running([child], process_record.start_time_of) == []
        assert other.poll() is None


def test_unwritable_record_ends_no_process_and_is_written_later(data_dir: DataDir, processes: ExitStack) -> None:
    with run_folder(data_dir) as folder:
        recorder = ProcessRecorder(data_dir, folder)
        data_dir.record.unlink()
        (data_dir.record / "in the way").mkdir(parents=True)
        process = start_program(processes, PARENT)
        recorder.refresh()

        shutil.rmtree(data_dir.record)
        recorder.refresh()

        assert recorded(process) in process_record.read_record(data_dir.record).processes


def test_data_directory_in_use_is_refused_until_the_process_that_uses_it_ends(
    data_dir: DataDir, processes: ExitStack
) -> None:
    holder = start_program(processes, command_of(hold_instance_lock, data_dir.lock))

    with pytest.raises(StartupError, match="process 42") as refused, instance_lock(data_dir.lock, description="me"):
        pass
    assert refused.value.code is ExitCode.DATA_DIR_IN_USE

    holder.kill()
    holder.wait()
    with instance_lock(data_dir.lock, description="me"):
        assert data_dir.lock.read_text() == "me"


@pytest.mark.parametrize("place", ["/proc/fotograma", "/dev/null/data"])
def test_unwritable_data_directory_is_refused(place: str) -> None:
    with pytest.raises(StartupError, match="can't be written") as refused:
        open_data_dir(Path(place))
    assert refused.value.code is ExitCode.NO_SPACE


def test_process_with_the_pid_of_this_process_is_never_ended(data_dir: DataDir) -> None:
    process_record.write_record(data_dir.record, RecordedRun(None, (RecordedProcess(os.getpid(), 0.0),)))

    assert clean_up_killed_run(data_dir) == 0

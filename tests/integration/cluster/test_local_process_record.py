"""What a killed run left behind is found and ended; a home has one user at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from cluster.local import process_record
from cluster.local.data_dir import DataDir, open_data_dir
from cluster.local.instance_lock import instance_lock
from cluster.local.process_record import RecordedProcess, RecordedRun
from cluster.local.run_cleanup import ProcessRecorder, end_left_over, run_folder
from cluster.local.startup_error import ExitCode, StartupError

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
PARENT = "import subprocess, sys, time; subprocess.Popen(['sleep', '600']); print(1, flush=True); time.sleep(600)"
HOLDER = """
import sys, time
from pathlib import Path
from cluster.local.instance_lock import instance_lock
with instance_lock(Path(sys.argv[1]), says="process 42"):
    print(1, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path) -> DataDir:
    return open_data_dir(tmp_path / "a home")


@pytest.fixture
def started() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def python(started: ExitStack, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Runs the program until it has written its first line; killed at the end of the test."""
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE)
    started.enter_context(process)
    started.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def seen(process: subprocess.Popen[bytes]) -> RecordedProcess:
    return RecordedProcess(process.pid, psutil.Process(process.pid).create_time())


def test_what_a_killed_run_left_is_ended_with_all_below_it(home: DataDir, started: ExitStack) -> None:
    parent = python(started, PARENT)
    (child,) = process_record.descendants(parent.pid)
    process_record.write(home.record, RecordedRun(None, (seen(parent),)))

    assert end_left_over(home) == 2

    assert parent.poll() is not None
    assert process_record.started(child.pid) is None
    assert not home.record.exists()


def test_process_that_ends_while_it_is_looked_at_is_no_family(
    started: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, alive = python(started, PARENT), python(started, PARENT)
    parent_of = psutil.Process.ppid

    def parent_unless_ended(process: psutil.Process) -> int:
        if process.pid == ended.pid:
            raise psutil.NoSuchProcess(process.pid)
        return int(parent_of(process))

    monkeypatch.setattr(psutil.Process, "ppid", parent_unless_ended)

    families = process_record.families(os.getpid())

    assert seen(alive) in families
    assert seen(ended) not in families


def test_a_process_that_only_got_a_recorded_pid_is_left_alone(home: DataDir, started: ExitStack) -> None:
    stranger = python(started, PARENT)
    process_record.write(home.record, RecordedRun(None, (RecordedProcess(stranger.pid, seen(stranger).started - 60),)))

    assert end_left_over(home) == 0

    assert stranger.poll() is None


def test_what_does_not_end_when_asked_is_killed(
    home: DataDir, started: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_record, "END_SECONDS", 0.1)
    stubborn = python(started, STUBBORN)
    process_record.write(home.record, RecordedRun(None, (seen(stubborn),)))

    end_left_over(home)

    assert stubborn.poll() is not None


def test_the_files_of_a_killed_run_go_and_its_logs_stay(home: DataDir, tmp_path: Path) -> None:
    folder = tmp_path / "fotograma-run"
    logs = folder / "ray" / "session_1" / "logs"
    logs.mkdir(parents=True)
    (logs / "raylet.out").write_text("why it ended")
    (home.scratch / "half").write_text("half a frame")
    process_record.write(home.record, RecordedRun(folder))

    end_left_over(home)

    assert not folder.exists()
    assert (home.logs / "ray" / "raylet.out").read_text() == "why it ended"
    assert list(home.scratch.iterdir()) == []


def test_the_record_holds_every_process_of_the_run(home: DataDir, started: ExitStack) -> None:
    with run_folder(home) as folder:
        recorder = ProcessRecorder(home, folder)
        parent = python(started, PARENT)
        family = {seen(parent), *process_record.descendants(parent.pid)}

        recorder.refresh()

        assert family <= set(process_record.read(home.record).processes)
    assert not home.record.exists()


def test_an_orphan_stays_in_the_record_as_long_as_it_lives(home: DataDir, started: ExitStack) -> None:
    with run_folder(home) as folder:
        recorder = ProcessRecorder(home, folder)
        parent = python(started, PARENT)
        (child,) = process_record.descendants(parent.pid)
        recorder.refresh()
        parent.kill()
        parent.wait()

        recorder.refresh()

        assert child in process_record.read(home.record).processes
        process_record.end([child])
        recorder.refresh()
        assert child not in process_record.read(home.record).processes


def test_a_child_is_ended_with_all_it_started_and_the_others_are_kept(home: DataDir, started: ExitStack) -> None:
    with run_folder(home) as folder:
        kept, ended = python(started, PARENT), python(started, PARENT)

        ProcessRecorder(home, folder).end_family(ended.pid)

        assert ended.poll() is not None
        assert kept.poll() is None


def test_an_orphan_is_ended_with_the_family_that_it_has_left(home: DataDir, started: ExitStack) -> None:
    with run_folder(home) as folder:
        recorder = ProcessRecorder(home, folder)
        kept, parent = python(started, PARENT), python(started, PARENT)
        (child,) = process_record.descendants(parent.pid)
        recorder.refresh()
        parent.kill()
        parent.wait()

        recorder.end_family(parent.pid)

        assert process_record.left_over([child], process_record.started) == []
        assert kept.poll() is None


def test_a_record_that_can_t_be_written_ends_nothing_and_is_written_later(home: DataDir, started: ExitStack) -> None:
    with run_folder(home) as folder:
        recorder = ProcessRecorder(home, folder)
        home.record.unlink()
        (home.record / "in the way").mkdir(parents=True)
        process = python(started, PARENT)
        recorder.refresh()

        shutil.rmtree(home.record)
        recorder.refresh()

        assert seen(process) in process_record.read(home.record).processes


def test_a_home_in_use_is_refused_and_free_again_when_its_holder_is_killed(home: DataDir, started: ExitStack) -> None:
    holder = python(started, HOLDER, str(home.lock))

    with pytest.raises(StartupError, match="process 42") as refused, instance_lock(home.lock, says="me"):
        pass
    assert refused.value.code is ExitCode.HOME_IN_USE

    holder.kill()
    holder.wait()
    with instance_lock(home.lock, says="me"):
        assert home.lock.read_text() == "me"


@pytest.mark.parametrize("place", ["/proc/fotograma", "/dev/null/home"])
def test_a_home_that_can_t_be_written_is_refused(place: str) -> None:
    with pytest.raises(StartupError, match="can't be written") as refused:
        open_data_dir(Path(place))
    assert refused.value.code is ExitCode.NO_SPACE


def test_the_pid_of_this_process_is_never_ended(home: DataDir) -> None:
    process_record.write(home.record, RecordedRun(None, (RecordedProcess(os.getpid(), 0.0),)))

    assert end_left_over(home) == 0

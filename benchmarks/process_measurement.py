"""Measures wall time, CPU time and peak memory of a process tree, and writes the rows of a benchmark. Linux only.

Wall time: from start to exit. CPU time: user and system time of the process and of all descendants that were waited for
(wait4). Memory: the greater of two peaks. One is the largest high-water mark (VmHWM) of any one process, which includes
every short peak. The other is the sum of the proportional set sizes (PSS) of several processes, sampled every 30 ms; a
shared page counts once.
"""

from __future__ import annotations

import json
import os
import platform
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import IO

SAMPLE_SECONDS = 0.03
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree used."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int

    def followed_by(self, other: Usage) -> Usage:
        """The usage of both, one after the other."""
        return Usage(
            self.wall_seconds + other.wall_seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_bytes, other.peak_bytes),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a benchmark in the JSON file.

    value: the median of `rounds`; None when it could not be measured, and `note` says why.
    """

    name: str
    unit: str
    value: float | None
    rounds: tuple[float, ...] = ()
    note: str = ""


class CommandFailed(Exception):
    """A measured command failed or exceeded its time limit. The text says which, and ends with the command's output."""


def measure_command(
    command: Sequence[str],
    *,
    output: Path | None,
    limit_seconds: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    ready: Callable[[IO[bytes]], None] | None = None,
) -> Usage:
    """Runs a command to its end and measures it and its descendants.

    output: the file that it must write, if any. stdin: bytes for its standard input, which stays open after them; when
    there are none, the input is closed at once. ready: for a command that is started ahead, reads its output until it
    waits for input. The wall time then starts at that moment, while CPU time and memory include the start.

    Raises CommandFailed when it fails, writes no such file or takes longer than the limit. At the limit, its process
    group is killed.
    """
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        stdout = subprocess.PIPE if ready else log
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=stdout, stderr=log, start_new_session=True
        )
        if ready and process.stdout:
            ready(process.stdout)
            threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
            start = time.perf_counter()
        peak = _write_and_watch(process, stdin, start + limit_seconds)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or (output and not output.exists()):
            log.seek(0)
            text = log.read().decode(errors="replace")[-1_000:]
            text = "".join(character for character in text if character.isprintable() or character == "\n").strip()
            end = f"ended with {process.returncode}" if process.returncode else f"left no {output and output.name}"
            raise CommandFailed(f"{command[0]} {end}: {text}")
    return Usage(wall, used.ru_utime + used.ru_stime, peak)


def _drain(output: IO[bytes]) -> None:
    """Reads a pipe to its end, so that it never fills up."""
    with output:
        while output.read(1 << 16):
            pass


def _write_and_watch(process: subprocess.Popen[bytes], stdin: bytes, deadline: float) -> int:
    """Writes the input and samples memory until the process ends. Returns the peak in bytes. Kills the process group
    after an error."""
    assert process.stdin is not None
    try:
        if stdin:
            process.stdin.write(stdin)
            process.stdin.flush()
        else:
            process.stdin.close()
        return _watch(process.pid, deadline)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        # A process that has ended can't take the input that it did not read.
        with suppress(BrokenPipeError):
            process.stdin.close()


def _watch(pid: int, deadline: float) -> int:
    """Samples until the process ends; returns the peak in bytes."""
    pidfd = os.pidfd_open(pid)
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    sum_peak = single_peak = 0
    try:
        while not ended.poll(SAMPLE_SECONDS * 1_000):
            processes = list(process_tree(pid))
            single_peak = max([single_peak, *(read_kibibytes(process, "status", "VmHWM:") for process in processes)])
            if len(processes) > 1:
                # Takes milliseconds of the measured cores, and VmHWM already gives the peak of a single process.
                sum_peak = max(sum_peak, sum(read_kibibytes(process, "smaps_rollup", "Pss:") for process in processes))
            if time.perf_counter() > deadline:
                raise CommandFailed("the command exceeded its time limit")
    finally:
        os.close(pidfd)
    return 1024 * max(sum_peak, single_peak)


def process_tree(pid: int) -> Iterator[int]:
    """A process and all its descendants."""
    yield pid
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield from process_tree(int(child))


def read_kibibytes(pid: int, file: str, field: str) -> int:
    """One value of /proc/PID/FILE; 0 when the process has just ended."""
    with suppress(OSError), open(f"/proc/{pid}/{file}") as lines:
        for line in lines:
            if line.startswith(field):
                return int(line.split()[1])
    return 0


def median_usage(rounds: Sequence[Usage]) -> Usage:
    return Usage(
        median(usage.wall_seconds for usage in rounds),
        median(usage.cpu_seconds for usage in rounds),
        int(median(usage.peak_bytes for usage in rounds)),
    )


def usage_rows(name: str, rounds: Sequence[Usage]) -> Iterator[Row]:
    """Three rows, `name/wall`, `name/cpu` and `name/memory`, each with the median of its rounds."""
    for part, unit, values in (
        ("wall", "s", [usage.wall_seconds for usage in rounds]),
        ("cpu", "s", [usage.cpu_seconds for usage in rounds]),
        ("memory", "MiB", [usage.peak_bytes / MIB for usage in rounds]),
    ):
        rounded = tuple(round(value, 4) for value in values)
        yield Row(f"{name}/{part}", unit, median(rounded), rounded)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes the rows as a JSON list of objects."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine_description() -> str:
    """The processor, the number of cores that this process may use, and the version of Python, in one line."""
    models = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return f"{models[0] if models else platform.machine()}, {cores} cores, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    with suppress(OSError):
        return Path(path).read_text().splitlines()
    return []

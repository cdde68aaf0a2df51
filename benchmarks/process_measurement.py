"""Wall time, CPU time and peak memory of a whole process tree, and the rows that a benchmark writes. Linux only.

Wall: from start to exit. CPU: user and system of the process and of all descendants that were waited for (wait4).
Memory: the greater of two peaks: the largest high-water mark (VmHWM) of any one process, which misses no short peak;
and, of several processes, their proportional set sizes (PSS) added up, sampled every 30 ms, so that a shared page
counts once.
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
    """What a process tree took."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int

    def then(self, other: Usage) -> Usage:
        """This one and then the other, one after the other."""
        return Usage(
            self.wall_seconds + other.wall_seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_bytes, other.peak_bytes),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a benchmark, as it stands in the JSON file.

    value: None when it could not be measured; `note` says why. rounds: what `value` is the median of.
    """

    name: str
    unit: str
    value: float | None
    rounds: tuple[float, ...] = ()
    note: str = ""


class CommandFailed(Exception):
    """A measured command failed or ran out of its time; the text says which, and ends with what it said."""


def usage_of(
    command: Sequence[str],
    *,
    makes: Path | None,
    limit_seconds: float,
    told: bytes = b"",
    environment: Mapping[str, str] | None = None,
    ready: Callable[[IO[bytes]], None] | None = None,
) -> Usage:
    """Runs a command to its end and measures it and its descendants.

    makes: the file that it has to leave, if any. told: what it reads on its standard input, which then stays open, as
    a pipe from a living process does; when there is nothing, the input is at its end. ready: of a command that is
    started ahead, reads its output until it can be told something; the wall time begins then, CPU time and memory are
    those of its whole life.

    Raises CommandFailed when it fails, leaves no such file or takes longer than the limit; at the limit it is killed
    with its process group.
    """
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter()
        output = subprocess.PIPE if ready else said
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=said, start_new_session=True
        )
        if ready and process.stdout:
            ready(process.stdout)
            threading.Thread(target=_read_off, args=(process.stdout,), daemon=True).start()
            begin = time.perf_counter()
        peak = _tell_and_watch(process, told, begin + limit_seconds)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or (makes and not makes.exists()):
            said.seek(0)
            text = said.read().decode(errors="replace")[-1_000:]
            text = "".join(character for character in text if character.isprintable() or character == "\n").strip()
            end = f"ended with {process.returncode}" if process.returncode else f"left no {makes and makes.name}"
            raise CommandFailed(f"{command[0]} {end}: {text}")
    return Usage(wall, used.ru_utime + used.ru_stime, peak)


def _read_off(output: IO[bytes]) -> None:
    """Keeps a pipe from filling up."""
    with output:
        while output.read(1 << 16):
            pass


def _tell_and_watch(process: subprocess.Popen[bytes], told: bytes, deadline: float) -> int:
    """Feeds the process and samples it until it ends; returns the peak in bytes. Kills it when it can't go on."""
    assert process.stdin is not None
    try:
        if told:
            process.stdin.write(told)
            process.stdin.flush()
        else:
            process.stdin.close()
        return _watch(process.pid, deadline)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        # What it did not read can't be flushed to a process that has ended.
        with suppress(BrokenPipeError):
            process.stdin.close()


def _watch(pid: int, deadline: float) -> int:
    """Samples until the process ends; returns the peak in bytes."""
    watched = os.pidfd_open(pid)
    ended = select.poll()
    ended.register(watched, select.POLLIN)
    together = alone = 0
    try:
        while not ended.poll(SAMPLE_SECONDS * 1_000):
            below = list(tree(pid))
            alone = max([alone, *(kibibytes(one, "status", "VmHWM:") for one in below)])
            if len(below) > 1:
                # Takes milliseconds of the measured cores; a single process's peak is known without it.
                together = max(together, sum(kibibytes(one, "smaps_rollup", "Pss:") for one in below))
            if time.perf_counter() > deadline:
                raise CommandFailed("the command ran out of its time")
    finally:
        os.close(watched)
    return 1024 * max(together, alone)


def tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield from tree(int(child))


def kibibytes(pid: int, file: str, field: str) -> int:
    """One figure of a process; 0 when it has just ended."""
    with suppress(OSError), open(f"/proc/{pid}/{file}") as lines:
        for line in lines:
            if line.startswith(field):
                return int(line.split()[1])
    return 0


def median_usage(rounds: Sequence[Usage]) -> Usage:
    return Usage(
        median(one.wall_seconds for one in rounds),
        median(one.cpu_seconds for one in rounds),
        int(median(one.peak_bytes for one in rounds)),
    )


def usage_rows(name: str, rounds: Sequence[Usage]) -> Iterator[Row]:
    """Three rows, `name/wall`, `name/cpu` and `name/memory`, each the median of its rounds."""
    for part, unit, values in (
        ("wall", "s", [one.wall_seconds for one in rounds]),
        ("cpu", "s", [one.cpu_seconds for one in rounds]),
        ("memory", "MiB", [one.peak_bytes / MIB for one in rounds]),
    ):
        rounded = tuple(round(value, 4) for value in values)
        yield Row(f"{name}/{part}", unit, median(rounded), rounded)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes the rows as a JSON list of objects."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> str:
    """The processor and how many of its cores this process may use, in one line."""
    models = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return f"{models[0] if models else platform.machine()}, {cores} cores, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    with suppress(OSError):
        return Path(path).read_text().splitlines()
    return []

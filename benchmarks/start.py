"""The time from the command to ready: `python -m benchmarks.start [--rounds N] [--json FILE]`.

A round starts `fotograma up` twice, first in a fresh data directory and then in the same one again, and reads the
seconds of each step from its progress output. Steps run side by side, so their sum is more than the time to ready. Each
start ends by a signal to its process group. The benchmark also measures `fotograma --help`, `fotograma extract
--local` of a one-second clip, and `fotograma list` with a running service. All figures are medians; each command has
run once before it is measured.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median

from benchmarks.process_measurement import Row, machine_description, write_rows
from tests.support.servers.running_service import FOTOGRAMA, READY, START_SECONDS, Service
from tests.support.videos.clips import ClipSpec, make_clip

ONE_SECOND = ClipSpec(width=640, height=360, frames=25, fps=Fraction(25))
IS_READY = "Ready after"
"""Part of the line that `up` prints when /readyz reports ready. The line with READY follows after the dashboard."""
STEP = re.compile(r"  (?P<name>\S.*?) +(?P<seconds>\d+\.\d) s")
IDLE_SECONDS = 5.0
COMMAND_RUNS = 5
"""How often each command runs in one round."""


@dataclass(frozen=True, slots=True)
class Start:
    """One start. ready_seconds: from the command to ready. steps: seconds of each step by its name."""

    ready_seconds: float
    steps: Mapping[str, float]


def steps_of(lines: Iterable[str]) -> dict[str, float]:
    """The seconds of each step in the output of `fotograma up`, in its order."""
    matches = (STEP.fullmatch(line) for line in lines)
    return {match["name"]: float(match["seconds"]) for match in matches if match}


def start_rows(name: str, starts: Sequence[Start]) -> Iterator[Row]:
    """One row for each step and one for ready, with the medians. Steps that not every start has are left out."""
    for step in starts[0].steps:
        if all(step in start.steps for start in starts):
            yield seconds_row(f"{name}/{step}", [start.steps[step] for start in starts])
    yield seconds_row(f"{name}/ready", [start.ready_seconds for start in starts])


def seconds_row(name: str, rounds: Iterable[float]) -> Row:
    rounded = tuple(round(seconds, 3) for seconds in rounds)
    return Row(name, "s", median(rounded), rounded)


def measure_start(data_dir: Path) -> Start:
    """Starts the service, and ends it when all its steps are done."""
    service = Service(data_dir)
    start = time.perf_counter()
    service.launch()
    try:
        service.wait_for(IS_READY, START_SECONDS)
        ready = time.perf_counter() - start
        service.wait_for(READY, START_SECONDS)
    finally:
        service.interrupt()
    return Start(ready, steps_of(service.lines))


def measure_starts(folder: Path, rounds: int) -> Iterator[Row]:
    """Rows of `up/fresh` and `up/existing`."""
    data_dirs = [folder / f"data-{number}" for number in range(rounds)]
    starts = [(measure_start(data_dir), measure_start(data_dir)) for data_dir in data_dirs]
    yield from start_rows("up/fresh", [fresh for fresh, _ in starts])
    yield from start_rows("up/existing", [existing for _, existing in starts])


def measure_commands(folder: Path, rounds: int) -> Iterator[Row]:
    """Rows of the commands that need no service."""
    clip = folder / "one_second.mp4"
    make_clip(clip, ONE_SECOND)
    commands = {
        "--help": ["--help"],
        "extract --local": ["extract", str(clip), "--fps", "1", "--local", "--output", str(folder / "frames")],
    }
    for name, arguments in commands.items():
        run_seconds(arguments)
        yield seconds_row(name, [run_seconds(arguments) for _ in range(rounds * COMMAND_RUNS)])


def measure_list(folder: Path, rounds: int) -> Row:
    """The row of `fotograma list`, which asks a running service."""
    service = Service(folder / "data-list", workers=1)
    service.start()
    try:
        service.log_in_cli()
        # Not beside what the service does at its start.
        time.sleep(IDLE_SECONDS)
        environment = service.cli_environment()
        run_seconds(["list"], environment)
        return seconds_row("list", [run_seconds(["list"], environment) for _ in range(rounds * COMMAND_RUNS)])
    finally:
        service.interrupt()


def run_seconds(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """The wall time of one `fotograma` command."""
    start = time.perf_counter()
    subprocess.run([FOTOGRAMA, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["up", "commands"], help="measure one of the two parts")
    options = parser.parse_args()
    # A benchmark that is told to end, by `timeout` for example, ends its service as well.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    # As on a user's machine: without bytecode, every process would compile all that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(machine_description())
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="fotograma-benchmark-") as name:
        if options.only != "up":
            rows += measure_commands(Path(name), options.rounds)
            rows.append(measure_list(Path(name), options.rounds))
        if options.only != "commands":
            rows += measure_starts(Path(name), options.rounds)
    for row in rows:
        print(f"{row.name:34} {row.value:6.2f} {row.unit}  {note(row)}")
    if options.json:
        write_rows(options.json, rows)
    return 0


def note(row: Row) -> str:
    """The range of the rounds."""
    return f"{min(row.rounds):.2f} to {max(row.rounds):.2f}"


if __name__ == "__main__":
    sys.exit(main())

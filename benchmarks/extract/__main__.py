"""This engine beside the ffmpeg command line, OpenCV, decord and PyAV: `python -m benchmarks.extract`.

The job is some frames of a video as JPEGs in a stored zip: the rows of benchmarks.extract.scenarios, on clips that
are made here (benchmarks.extract.clips). This engine works as a worker has it work, in a decoding child over a pipe
(`fotograma, decord`: with its other reader) that was started ahead: its wall time begins when it is told the job,
its CPU time has its start in it. The others are benchmarks.extract.contestants. Every one is a fresh process tree on
the same two cores, its interpreter and imports included, measured as benchmarks.process_measurement says. Rounds
are interleaved, so that a slow minute of the machine meets all alike; a figure is the median of its rounds (the main
three run in each, the others in every second). ffmpeg's JPEG quality is chosen for each clip so that its images are as
near to the decoded video as this engine's, in PSNR of luma; the others have the same encoder and quality as this
engine.

How to read it: the three columns after `ffmpeg/this` are ffmpeg's figure divided by the contestant's, on wall time, CPU
time and peak memory: above 1 is faster, or smaller. `right` counts the images that show exactly the frame that was
asked for. ffmpeg's filter `fps=1` takes, by its own rule, the last frame before each half second: 14 frames off is no
fault of its decoder. `bare decode` is ffmpeg's decoder without picking, images and zip. `BT.709 read as BT.601` means
colors that are off; that is not counted in the PSNR.

Before the first run the clips are made, which takes minutes; `--clips` says where they are kept, by default in a folder
of the machine's temporary files. The exit code is 1 when a contestant failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NoReturn

from benchmarks.extract.calibration import calibrated
from benchmarks.extract.clips import clip, made
from benchmarks.extract.contestants import child
from benchmarks.extract.interleaved_rounds import Course, Result, compare
from benchmarks.extract.markdown_table import MEGABYTE, markdown, written
from benchmarks.extract.peak_memory import Footprint, footprints
from benchmarks.extract.report import HEADING, lines, rows, short
from benchmarks.extract.scenarios import SCENARIOS, Scenario
from benchmarks.process_measurement import MIB, Row, machine, write_rows

MEMORY = "memory"
"""The name of the rows of benchmarks.extract.peak_memory."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables and writes the files; returns the exit code."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _end)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    heading = f"{machine()}; medians of {options.rounds} interleaved rounds"
    print(heading)
    print(f"start of the child and its imports, ahead of the job and not in its wall time: {_start_seconds():.2f} s")
    chosen = [one for one in SCENARIOS if not options.rows or one.name in options.rows]
    for one in chosen:
        made(options.clips, clip(one.clip, quick=options.quick))
    results = [result for one in chosen for result in _race(one, options)]
    memory = list(_footprints(options)) if not options.rows or MEMORY in options.rows else []
    if options.json:
        about = Row("extract/threads", "threads", options.cores, note=machine())
        write_rows(options.json, [about, *rows(results, memory)])
    if options.markdown:
        written(options.markdown, markdown(f"{heading}.", results, memory))
    return any(one.failed for one in results) or any(one.bytes is None for one in memory)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Ends like an interrupt does: the command at work is killed, and the images go."""
    raise SystemExit(128 + number)


def _race(scenario: Scenario, options: argparse.Namespace) -> list[Result]:
    """One table, printed."""
    film = clip(scenario.clip, quick=options.quick)
    source = made(options.clips, film)
    ffmpeg_quality, said = _calibrated(source)
    size = source.stat().st_size
    print(
        f"\n{scenario.name}: {scenario.title}; {film.frames} frames, {size / MIB:.1f} MiB; {said}\n{HEADING}",
        flush=True,
    )
    results = compare(Course(scenario, film, source, ffmpeg_quality, options.cores), options.rounds)
    print("\n".join(lines(results)), flush=True)
    return results


@cache
def _calibrated(source: Path) -> tuple[int, str]:
    return calibrated(source)


def _footprints(options: argparse.Namespace) -> list[Footprint]:
    print("\npeak memory of this engine, MB", flush=True)
    found = []
    for one in footprints(options.clips, threads=options.cores, quick=options.quick):
        print(f"{one.title:45}{one.bytes / MEGABYTE if one.bytes else 0:6.0f}  {short(one.note)}", flush=True)
        found.append(one)
    return found


def _start_seconds() -> float:
    return child(b"", makes=None).wall_seconds


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extract", description=(__doc__ or "").split("\n\n")[0])
    names = [*(one.name for one in SCENARIOS), MEMORY]
    parser.add_argument("--rows", nargs="+", choices=names, metavar="NAME", help=f"only these of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, help="how often the main ones do each job (default 3; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="clips of a few seconds and one round")
    parser.add_argument("--cores", type=int, default=2, help="cores and decoder threads for each (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here, as a list of objects")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the tables here; in docs/benchmarks.md, in their place"
    )
    parser.add_argument("--clips", type=Path, metavar="DIR", help="keep the generated clips here")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.clips = options.clips or Path(tempfile.gettempdir(), "fotograma-benchmark-clips")
    return options


if __name__ == "__main__":
    raise SystemExit(main())

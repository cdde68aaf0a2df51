"""This engine beside the ffmpeg command line, OpenCV, decord and PyAV: `python -m benchmarks.extract`.

Each program extracts frames of a video as JPEGs into a stored zip: the frames of benchmarks.extract.scenarios, from
clips that benchmarks.extract.clips makes. This engine runs as a worker runs it: in a decoding child that was started
ahead and gets its job over a pipe (`fotograma, decord`: with its other reader). Its wall time starts with the job; its
CPU time includes the start of the child. benchmarks.extract.compared_programs has the other programs. Every program
runs in a new process tree on the same two cores, its interpreter and imports included, and is measured by
benchmarks.process_measurement. Rounds are interleaved, so that a slow minute of the machine affects all programs
equally. Each figure is the median of its rounds (the main three programs run in each, the others in every second). For
each clip, ffmpeg's JPEG quality is chosen so that the PSNR of luma is this engine's; the others have the same encoder
and quality as this engine.

How to read it: the three columns after `ffmpeg/this` are ffmpeg's figure divided by the program's, for wall time, CPU
time and peak memory. Above 1 is faster, or smaller. `right` counts the images that show exactly the requested frame.
ffmpeg's filter `fps=1` takes, by its own rule, the last frame before each half second: being 14 frames off is no fault
of its decoder. `bare decode` is ffmpeg's decoder without selection, images and zip. `BT.709 read as BT.601` means wrong
colors, which the PSNR does not include.

Before the first run the clips are made, which takes minutes. `--clips` names their folder, by default one in the
machine's temporary files. The exit code is 1 when a program failed.
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

from benchmarks.extract.clips import ensure_clip, find_clip
from benchmarks.extract.compared_programs import measure_child
from benchmarks.extract.ffmpeg_quality_calibration import calibrate_ffmpeg
from benchmarks.extract.interleaved_rounds import Comparison, ProgramResult, compare
from benchmarks.extract.markdown_table import MEGABYTE, markdown, write_between_markers
from benchmarks.extract.peak_memory import PeakMemory, measure_peaks
from benchmarks.extract.report import HEADING, result_lines, result_rows, shorten
from benchmarks.extract.scenarios import SCENARIOS, Scenario
from benchmarks.process_measurement import MIB, Row, machine_description, write_rows

MEMORY = "memory"
"""Selects the rows of benchmarks.extract.peak_memory."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables and writes the files; returns the exit code."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _end)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    heading = f"{machine_description()}; medians of {options.rounds} interleaved rounds"
    print(heading)
    print(f"start of the child and its imports, ahead of the job and not in its wall time: {_start_seconds():.2f} s")
    scenarios = [scenario for scenario in SCENARIOS if not options.rows or scenario.name in options.rows]
    for scenario in scenarios:
        ensure_clip(options.clips, find_clip(scenario.clip, quick=options.quick))
    results = [result for scenario in scenarios for result in _compare_programs(scenario, options)]
    memory = list(_measure_memory(options)) if not options.rows or MEMORY in options.rows else []
    if options.json:
        about = Row("extract/threads", "threads", options.cores, note=machine_description())
        write_rows(options.json, [about, *result_rows(results, memory)])
    if options.markdown:
        write_between_markers(options.markdown, markdown(f"{heading}.", results, memory))
    return any(result.failed for result in results) or any(peak.bytes is None for peak in memory)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Ends as after an interrupt: the running command is killed, and its images are deleted."""
    raise SystemExit(128 + number)


def _compare_programs(scenario: Scenario, options: argparse.Namespace) -> list[ProgramResult]:
    """Prints the table of one scenario."""
    clip = find_clip(scenario.clip, quick=options.quick)
    source = ensure_clip(options.clips, clip)
    ffmpeg_quality, psnr_line = _calibrated(source)
    size = source.stat().st_size
    print(
        f"\n{scenario.name}: {scenario.title}; {clip.frames} frames, {size / MIB:.1f} MiB; {psnr_line}\n{HEADING}",
        flush=True,
    )
    results = compare(Comparison(scenario, clip, source, ffmpeg_quality, options.cores), options.rounds)
    print("\n".join(result_lines(results)), flush=True)
    return results


@cache
def _calibrated(source: Path) -> tuple[int, str]:
    return calibrate_ffmpeg(source)


def _measure_memory(options: argparse.Namespace) -> list[PeakMemory]:
    print("\npeak memory of this engine, MB", flush=True)
    peaks = []
    for peak in measure_peaks(options.clips, threads=options.cores, quick=options.quick):
        print(f"{peak.title:45}{peak.bytes / MEGABYTE if peak.bytes else 0:6.0f}  {shorten(peak.note)}", flush=True)
        peaks.append(peak)
    return peaks


def _start_seconds() -> float:
    return measure_child(b"", output=None).wall_seconds


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extract", description=(__doc__ or "").split("\n\n")[0])
    names = [*(scenario.name for scenario in SCENARIOS), MEMORY]
    parser.add_argument("--rows", nargs="+", choices=names, metavar="NAME", help=f"only these of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, help="rounds of the main programs (default 3; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="clips of a few seconds and one round")
    parser.add_argument("--cores", type=int, default=2, help="cores and decoder threads for each program (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here, as a JSON list")
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="write the tables here, between the markers if there are any",
    )
    parser.add_argument("--clips", type=Path, metavar="DIR", help="folder for the generated clips")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.clips = options.clips or Path(tempfile.gettempdir(), "fotograma-benchmark-clips")
    return options


if __name__ == "__main__":
    raise SystemExit(main())

"""Resource use over many videos in a row: `python -m benchmarks.soak [--videos 201] [--json FILE]`.

Like a worker, one process has a decoding child forked ahead for each video, sends it the job over its pipe, and reads
the archive. The videos are small and of many kinds; some are damaged. Every 20 videos it prints the process's resident
memory, open descriptors and child processes: none may grow. The exit code is 1 when one does. A child that crashes ends
the run with an error.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from actors.extraction_types import EngineOptions, Extracted, ProgressEvent
from actors.sandbox.child_process import ChildCrashed, DecodingChild
from actors.sandbox.child_protocol import Job, Refused
from actors.sandbox.fork_server import ForkServer
from benchmarks.extract.compared_programs import CHILD_LIMITS
from benchmarks.process_measurement import MIB, Row, machine_description, process_tree, read_kibibytes, write_rows
from db.values.frame_spec import FrameSpec, canonical

REPORT_EVERY = 20
WARMUP_VIDEOS = 40
"""After this many videos everything that stays in memory has been allocated."""
GROWTH_BYTES = 2 * MIB


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """The resource use of this process after `videos` videos. children: its child processes; one is always ready."""

    videos: int
    resident_bytes: int
    descriptors: int
    children: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the resource use and writes the rows; returns the exit code."""
    options = _options(arguments)
    print(machine_description())
    with tempfile.TemporaryDirectory(prefix="fotograma-soak-") as name:
        clips = _clips(Path(name, "clips"))
        print(f"{options.videos} videos, of {len(clips)} kinds in turn", flush=True)
        uses, outcomes = asyncio.run(run_videos(clips, options.videos, Path(name, "out")))
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))
    if options.json:
        write_rows(options.json, rows(uses))
    print(verdict := "stable" if is_stable(uses) else "NOT stable")
    return int(verdict != "stable")


async def run_videos(clips: Sequence[Path], videos: int, out: Path) -> tuple[list[ResourceUse], Counter[str]]:
    """The resource use over time, and how often each outcome occurred. Raises RuntimeError when a child crashed."""
    async with ForkServer() as server:
        child = await DecodingChild.start(server)
        uses, outcomes = [_measure(0)], Counter[str]()
        for number, source in enumerate(islice(cycle(clips), videos), start=1):
            spare = asyncio.create_task(DecodingChild.start(server))
            outcomes[await run_video(child, source, out)] += 1
            child = await spare
            if number % REPORT_EVERY == 0 or number == videos:
                uses.append(_measure(number))
        await child.kill()
    return uses, outcomes


async def run_video(child: DecodingChild, source: Path, out: Path) -> str:
    """Extracts one video with the default specification in a child; returns the outcome."""
    with _job(source, out) as job:
        match await child.run(job, _ignore_progress):
            case Extracted(sha256=digest):
                if hashlib.sha256((out / "frames.zip").read_bytes()).hexdigest() != digest:
                    raise RuntimeError(f"{source.name}: the archive has another SHA-256 than the child reported")
                return "extracted"
            case Refused(code):
                return f"refused as {code}"
            case ChildCrashed(detail, log):
                raise RuntimeError(f"{source.name}: {detail} {log}")
            case other:
                raise RuntimeError(f"{source.name}: {other}")


@contextmanager
def _job(source: Path, out: Path) -> Iterator[Job]:
    """A job with an empty output folder, which is removed at the end."""
    out.mkdir()
    try:
        yield Job(source.resolve(), canonical(FrameSpec()), out.resolve(), EngineOptions(), CHILD_LIMITS)
    finally:
        shutil.rmtree(out)


def is_stable(uses: Sequence[ResourceUse]) -> bool:
    """Returns whether nothing has grown since the warm-up."""
    baseline = next((use for use in uses if use.videos >= WARMUP_VIDEOS), uses[0])
    last = uses[-1]
    grown = last.resident_bytes - baseline.resident_bytes
    return grown <= GROWTH_BYTES and (last.descriptors, last.children) == (baseline.descriptors, baseline.children)


def rows(uses: Sequence[ResourceUse]) -> Iterator[Row]:
    for use in uses:
        name = f"soak/{use.videos}"
        yield Row(f"{name}/resident", "MiB", round(use.resident_bytes / MIB, 2))
        yield Row(f"{name}/descriptors", "descriptors", use.descriptors)
        yield Row(f"{name}/children", "processes", use.children)


async def _ignore_progress(event: ProgressEvent) -> None:
    """There is no database to write progress to."""


def _measure(videos: int) -> ResourceUse:
    """Measures and prints the resource use."""
    own = os.getpid()
    use = ResourceUse(
        videos,
        1024 * read_kibibytes(own, "status", "VmRSS:"),
        len(os.listdir("/proc/self/fd")),
        len(list(process_tree(own))) - 1,
    )
    resident = f"{use.resident_bytes / MIB:7.2f} MiB resident"
    print(f"{videos:5} videos {resident} {use.descriptors:4} descriptors {use.children:3} children", flush=True)
    return use


def _clips(folder: Path) -> list[Path]:
    """Makes the clips in another process: a worker never loads codecs, and this process must not either."""
    folder.mkdir()
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-m", "benchmarks.soak_clips", str(folder)], cwd=root, check=True)
    return sorted(folder.iterdir())


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--videos", type=int, default=201, help="how many (default 201)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here, as a list of objects")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())

"""Many videos in a row through one worker: `python -m benchmarks.soak [--videos 201] [--json FILE]`.

As a worker does, one process starts a decoding child ahead for each video, gives it the job over its pipe, and reads
the archive back. The videos are small and of many kinds, some of them damaged. Every 20 videos it prints the process's
own resident memory and open descriptors, and the children that are left over: all have to stay level. The exit code is
1 when they do not, or when a video did not end as it should.
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
from benchmarks.extract.contestants import CHILD_LIMITS
from benchmarks.process_measurement import MIB, Row, kibibytes, machine, tree, write_rows
from db.values.frame_spec import FrameSpec, canonical

EVERY = 20
SETTLED = 40
"""After so many videos all that is kept for good has been made."""
GROWTH_BYTES = 2 * MIB


@dataclass(frozen=True, slots=True)
class Level:
    """Of the worker's own process after so many videos. children: processes below it; one is always ready."""

    videos: int
    resident_bytes: int
    descriptors: int
    children: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the levels and writes the rows; returns the exit code."""
    options = _options(arguments)
    print(machine())
    with tempfile.TemporaryDirectory(prefix="fotograma-soak-") as name:
        clips = _clips(Path(name, "clips"))
        print(f"{options.videos} videos, of {len(clips)} kinds in turn", flush=True)
        levels, endings = asyncio.run(work(clips, options.videos, Path(name, "out")))
    print(", ".join(f"{count} {ending}" for ending, count in sorted(endings.items())))
    if options.json:
        write_rows(options.json, rows(levels))
    print(verdict := "level" if is_level(levels) else "NOT level")
    return int(verdict != "level")


async def work(clips: Sequence[Path], videos: int, out: Path) -> tuple[list[Level], Counter[str]]:
    """The levels, and how often each ending came. Raises RuntimeError when a child crashed."""
    child = await DecodingChild.start()
    levels, endings = [_level(0)], Counter[str]()
    for number, source in enumerate(islice(cycle(clips), videos), start=1):
        spare = asyncio.create_task(DecodingChild.start())
        endings[await perform(child, source, out)] += 1
        child = await spare
        if number % EVERY == 0 or number == videos:
            levels.append(_level(number))
    await child.kill()
    return levels, endings


async def perform(child: DecodingChild, source: Path, out: Path) -> str:
    """Has a child do one video with the default specification; returns how it ended."""
    with _job(source, out) as job:
        match await child.run(job, _hear):
            case Extracted(sha256=digest):
                if hashlib.sha256((out / "frames.zip").read_bytes()).hexdigest() != digest:
                    raise RuntimeError(f"{source.name}: the archive is not the one that was told")
                return "extracted"
            case Refused(code):
                return f"refused as {code}"
            case ChildCrashed(detail, log):
                raise RuntimeError(f"{source.name}: {detail} {log}")
            case other:
                raise RuntimeError(f"{source.name}: {other}")


@contextmanager
def _job(source: Path, out: Path) -> Iterator[Job]:
    """A job with its empty folder, which goes away again."""
    out.mkdir()
    try:
        yield Job(source.resolve(), canonical(FrameSpec()), out.resolve(), EngineOptions(), CHILD_LIMITS)
    finally:
        shutil.rmtree(out)


def is_level(levels: Sequence[Level]) -> bool:
    """Whether nothing has grown since the process settled."""
    settled = next((level for level in levels if level.videos >= SETTLED), levels[0])
    last = levels[-1]
    grown = last.resident_bytes - settled.resident_bytes
    return grown <= GROWTH_BYTES and (last.descriptors, last.children) == (settled.descriptors, settled.children)


def rows(levels: Sequence[Level]) -> Iterator[Row]:
    for level in levels:
        name = f"soak/{level.videos}"
        yield Row(f"{name}/resident", "MiB", round(level.resident_bytes / MIB, 2))
        yield Row(f"{name}/descriptors", "descriptors", level.descriptors)
        yield Row(f"{name}/children", "processes", level.children)


async def _hear(news: ProgressEvent) -> None:
    """The bench has no database to tell."""


def _level(videos: int) -> Level:
    """Measured and printed."""
    own = os.getpid()
    level = Level(
        videos,
        1024 * kibibytes(own, "status", "VmRSS:"),
        len(os.listdir("/proc/self/fd")),
        len(list(tree(own))) - 1,
    )
    resident = f"{level.resident_bytes / MIB:7.2f} MiB resident"
    print(f"{videos:5} videos {resident} {level.descriptors:4} descriptors {level.children:3} children", flush=True)
    return level


def _clips(folder: Path) -> list[Path]:
    """Made by a process of its own: a worker has no codecs in its memory."""
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

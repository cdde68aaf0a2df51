"""Fotograma beside `ffmpeg -vf fps=1` with zip and decord with Pillow: `python -m benchmarks.extract [--json FILE]`.

The job is one JPEG per second of a video into a stored zip, on the same generated clips (1080p H.264 with GOPs of 250
and 48 frames, 4K H.264; see benchmarks.footage). Every contestant is a fresh process tree, imports and interpreter
included, measured as benchmarks.measure says; rounds are interleaved, so that a slow minute of the machine meets all
alike; a figure is the median of its rounds.

How to read it: the three columns after `vs ffmpeg` are ffmpeg's figure divided by the contestant's, on wall time, CPU
time and peak memory: above 1 is faster, or smaller. `right` counts the images that show exactly the frame on screen at
0, 1, 2 … s. ffmpeg's filter `fps=1` takes, by its own rule, the last frame before each half second, so 0 is no fault of
its decoder. `PSNR` compares images with decoded frames, read as JFIF says (BT.601); ffmpeg leaves BT.709 samples in
them, which costs it some. Before the first run the clips are made, which takes minutes; `--clips` says where they are
kept, by default in a folder of the machine's temporary files. The exit code is 1 when a contestant failed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import contestants
from benchmarks.footage import footage, made
from benchmarks.measure import MIB, CommandFailed, Row, Usage, machine, median_usage, usage_rows, write_rows
from benchmarks.quality import Delivery, decoded, delivered
from tests.clips import ClipSpec

BASELINE = "ffmpeg + zip"
HEADING = f"{'':18}{'wall s':>8}{'CPU s':>8}{'MiB':>7}  vs ffmpeg:{'wall':>6}{'CPU':>6}{'mem':>6}"
HEADING += f"{'images':>9}{'right':>7}{'KiB each':>10}{'PSNR':>7}"


@dataclass(frozen=True, slots=True)
class Result:
    """One contestant on one clip. note: "skipped: …" or "failed: …" where there are no figures."""

    clip: str
    contestant: str
    rounds: tuple[Usage, ...] = ()
    delivery: Delivery | None = None
    note: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables and writes the rows; returns the exit code."""
    options = _options(arguments)
    print(f"{machine()}; {options.threads} threads; medians of {options.rounds} rounds")
    results: list[Result] = []
    for name, spec in footage(quick=options.quick).items():
        source = made(options.clips, name, spec)
        print(f"\n{name}: {spec.frames} frames, {source.stat().st_size / MIB:.1f} MiB\n{HEADING}", flush=True)
        of_clip = compare(name, source, spec, rounds=options.rounds, threads=options.threads)
        print("\n".join(lines(of_clip)), flush=True)
        results += of_clip
    if options.json:
        write_rows(options.json, [Row("extract/threads", "threads", options.threads, note=machine()), *rows(results)])
    return any(one.note.startswith("failed") for one in results)


def compare(name: str, source: Path, spec: ClipSpec, *, rounds: int, threads: int) -> list[Result]:
    """Lets every contestant do the job `rounds` times, in turn."""
    usages: dict[str, list[Usage]] = {one.name: [] for one in contestants()}
    notes = {one.name: f"skipped: {one.missing}" for one in contestants() if one.missing}
    archives: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(prefix="fotograma-benchmark-") as folder:
        for turn in range(rounds):
            for one in contestants():
                if one.name in notes:
                    continue
                archive = Path(folder, str(turn), one.name, "frames.zip")
                archive.parent.mkdir(parents=True)
                try:
                    usages[one.name].append(one.run(source, archive, threads))
                    archives[one.name] = archive
                except CommandFailed as failure:
                    notes[one.name] = f"failed: {failure}"
        reference = decoded(source)
        deliveries = {one: delivered(archive, reference, spec) for one, archive in archives.items()}
    return [
        Result(name, one, note=notes[one]) if one in notes else Result(name, one, tuple(took), deliveries[one])
        for one, took in usages.items()
    ]


def lines(results: Sequence[Result]) -> Iterator[str]:
    """The table of one clip."""
    for one in results:
        if one.delivery is None:
            yield f"{one.contestant:18}{_short(one.note)}"
            continue
        took = median_usage(one.rounds)
        ratios = "".join(f"{ratio:6.2f}" if ratio else f"{'–':>6}" for ratio in _ratios(one, results).values())
        images, psnr = one.delivery.images, one.delivery.psnr
        yield (
            f"{one.contestant:18}{took.wall_seconds:8.2f}{took.cpu_seconds:8.2f}{took.peak_bytes / MIB:7.0f}"
            f"            {ratios}{images:9}{one.delivery.right:7}{one.delivery.image_bytes / images / 1024:10.0f}"
            + (f"{psnr:7.1f}" if psnr else f"{'–':>7}")
        )


def _short(note: str) -> str:
    """A note on one line; of what a failed program said, only the last line that speaks of an error."""
    first, *rest = note.splitlines()
    errors = [line for line in [first, *rest] if "rror" in line]
    return first if not rest else f"{first[:80]} … {(errors or rest)[-1][-160:]}"


def rows(results: Sequence[Result]) -> Iterator[Row]:
    """All figures, named `extract/CLIP/CONTESTANT/FIGURE`."""
    for one in results:
        name = f"extract/{one.clip}/{one.contestant}"
        if one.delivery is None:
            yield Row(f"{name}/wall", "s", None, note=one.note)
            continue
        yield from usage_rows(name, one.rounds)
        for figure, ratio in _ratios(one, results).items():
            yield Row(f"{name}/{figure}_ratio", "ffmpeg / this", ratio)
        yield Row(f"{name}/images", "images", one.delivery.images)
        yield Row(f"{name}/right", "images", one.delivery.right)
        yield Row(f"{name}/image_bytes", "B", one.delivery.image_bytes)
        yield Row(f"{name}/psnr", "dB", one.delivery.psnr)


def _ratios(one: Result, results: Sequence[Result]) -> dict[str, float | None]:
    """ffmpeg's figures divided by this one's, on the same clip; None where ffmpeg has none."""
    base = next((r.rounds for r in results if r.contestant == BASELINE and r.clip == one.clip), ())
    if not base:
        return dict.fromkeys(("wall", "cpu", "memory"))
    theirs, ours = median_usage(base), median_usage(one.rounds)
    return {
        "wall": theirs.wall_seconds / ours.wall_seconds,
        "cpu": theirs.cpu_seconds / ours.cpu_seconds,
        "memory": theirs.peak_bytes / ours.peak_bytes,
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extract", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here, as a list of objects")
    parser.add_argument("--quick", action="store_true", help="clips of a few seconds and one round")
    parser.add_argument("--rounds", type=int, help="how often each contestant does the job (default 5; quick: 1)")
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="for each (default: all cores)"
    )
    parser.add_argument("--clips", type=Path, metavar="DIR", help="keep the generated clips here")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.clips = options.clips or Path(tempfile.gettempdir(), "fotograma-benchmark-clips")
    return options


if __name__ == "__main__":
    raise SystemExit(main())

"""The results as lines for people and as rows for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.extract.contestants import BASELINE
from benchmarks.extract.interleaved_rounds import Result
from benchmarks.extract.peak_memory import Footprint
from benchmarks.process_measurement import MIB, Row, Usage, usage_rows

HEADING = f"{'':18}{'wall s':>8}{'CPU s':>8}{'MiB':>7}  ffmpeg/this:{'wall':>6}{'CPU':>6}{'mem':>6}"
HEADING += f"{'images':>8}{'right':>7}{'KiB each':>10}{'PSNR':>7}"


def lines(results: Sequence[Result]) -> Iterator[str]:
    """The table of one scenario."""
    for one in results:
        if one.usage is None:
            yield f"{one.contestant:18}{short(one.note)}"
            continue
        took = one.usage
        parts = "".join(f"{ratio:6.2f}" if ratio else f"{'–':>6}" for ratio in ratios(one, results).values())
        line = f"{one.contestant:18}{took.wall_seconds:8.2f}{took.cpu_seconds:8.2f}{took.peak_bytes / MIB:7.0f}"
        yield f"{line}              {parts}{_delivered(one)}" + (f"  {short(one.note)}" if one.note else "")


def _delivered(one: Result) -> str:
    given = one.delivery
    if given is None:
        return ""
    near = f"{given.nearness.psnr:7.1f}" if given.nearness else f"{'–':>7}"
    line = f"{given.images:8}{given.right:7}{image_kib(one):10.0f}{near}"
    if given.nearness and not given.nearness.colors:
        line += "  BT.709 read as BT.601"
    off, count = given.shift
    return line + (f"  {count} images {off:+} frames off" if off else "")


def image_kib(one: Result) -> float:
    return one.delivery.image_bytes / one.delivery.images / 1024 if one.delivery and one.delivery.images else 0.0


def short(note: str) -> str:
    """A note on one line; of what a failed program said, only the last line that speaks of an error."""
    first, *rest = note.splitlines() or [""]
    errors = [line for line in [first, *rest] if "rror" in line]
    return first if not rest else f"{first[:80]} … {(errors or rest)[-1][-160:]}"


def ratios(one: Result, results: Iterable[Result]) -> dict[str, float | None]:
    """ffmpeg's figures divided by this one's, in the same scenario; None where one of them has none."""
    theirs, ours = of(BASELINE, one.scenario.name, results), one.usage
    if theirs is None or ours is None:
        return dict.fromkeys(("wall", "cpu", "memory"))
    return {
        "wall": theirs.wall_seconds / ours.wall_seconds,
        "cpu": theirs.cpu_seconds / ours.cpu_seconds,
        "memory": theirs.peak_bytes / ours.peak_bytes,
    }


def of(contestant: str, scenario: str, results: Iterable[Result]) -> Usage | None:
    found = (r.usage for r in results if r.contestant == contestant and r.scenario.name == scenario)
    return next(found, None)


def rows(results: Sequence[Result], memory: Sequence[Footprint]) -> Iterator[Row]:
    """All figures, named `extract/SCENARIO/CONTESTANT/FIGURE`."""
    for one in results:
        name = f"extract/{one.scenario.name}/{one.contestant}"
        if one.usage is None:
            yield Row(f"{name}/wall", "s", None, note=one.note)
            continue
        yield from usage_rows(name, one.rounds)
        for figure, ratio in ratios(one, results).items():
            yield Row(f"{name}/{figure}_ratio", "ffmpeg / this", ratio)
        yield from _delivery_rows(name, one)
    for footprint in memory:
        yield Row(f"extract/{footprint.name}", "B", footprint.bytes, note=footprint.note)


def _delivery_rows(name: str, one: Result) -> Iterator[Row]:
    if one.delivery:
        psnr = one.delivery.nearness.psnr if one.delivery.nearness else None
        yield Row(f"{name}/images", "images", one.delivery.images, note=one.note)
        yield Row(f"{name}/right", "images", one.delivery.right)
        yield Row(f"{name}/image_bytes", "B", one.delivery.image_bytes)
        yield Row(f"{name}/psnr", "dB", psnr)

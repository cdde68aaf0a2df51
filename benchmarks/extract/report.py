"""The results of the comparison: lines for the console, and rows for a JSON file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.extract.compared_programs import BASELINE
from benchmarks.extract.interleaved_rounds import ProgramResult
from benchmarks.extract.peak_memory import PeakMemory
from benchmarks.process_measurement import MIB, Row, Usage, usage_rows

HEADING = f"{'':18}{'wall s':>8}{'CPU s':>8}{'MiB':>7}  ffmpeg/this:{'wall':>6}{'CPU':>6}{'mem':>6}"
HEADING += f"{'images':>8}{'right':>7}{'KiB each':>10}{'PSNR':>7}"


def result_lines(results: Sequence[ProgramResult]) -> Iterator[str]:
    """The table of one scenario."""
    for result in results:
        if result.usage is None:
            yield f"{result.program:18}{shorten(result.note)}"
            continue
        usage = result.usage
        parts = "".join(f"{ratio:6.2f}" if ratio else f"{'–':>6}" for ratio in ratios(result, results).values())
        line = f"{result.program:18}{usage.wall_seconds:8.2f}{usage.cpu_seconds:8.2f}{usage.peak_bytes / MIB:7.0f}"
        yield f"{line}              {parts}{_quality_columns(result)}" + (
            f"  {shorten(result.note)}" if result.note else ""
        )


def _quality_columns(result: ProgramResult) -> str:
    quality = result.quality
    if quality is None:
        return ""
    psnr = f"{quality.fidelity.psnr:7.1f}" if quality.fidelity else f"{'–':>7}"
    line = f"{quality.images:8}{quality.right:7}{image_kib(result):10.0f}{psnr}"
    if quality.fidelity and not quality.fidelity.has_right_colors:
        line += "  BT.709 read as BT.601"
    frames_off, count = quality.shift
    return line + (f"  {count} images {frames_off:+} frames off" if frames_off else "")


def image_kib(result: ProgramResult) -> float:
    return (
        result.quality.image_bytes / result.quality.images / 1024 if result.quality and result.quality.images else 0.0
    )


def shorten(note: str) -> str:
    """A note on one line. Of a failed program's output, only the last line that mentions an error."""
    first, *rest = note.splitlines() or [""]
    errors = [line for line in [first, *rest] if "rror" in line]
    return first if not rest else f"{first[:80]} … {(errors or rest)[-1][-160:]}"


def ratios(result: ProgramResult, results: Iterable[ProgramResult]) -> dict[str, float | None]:
    """ffmpeg's figures divided by the program's, in the same scenario; None when either has no figure."""
    baseline, usage = usage_of(BASELINE, result.scenario.name, results), result.usage
    if baseline is None or usage is None:
        return dict.fromkeys(("wall", "cpu", "memory"))
    return {
        "wall": baseline.wall_seconds / usage.wall_seconds,
        "cpu": baseline.cpu_seconds / usage.cpu_seconds,
        "memory": baseline.peak_bytes / usage.peak_bytes,
    }


def usage_of(program: str, scenario: str, results: Iterable[ProgramResult]) -> Usage | None:
    usages = (r.usage for r in results if r.program == program and r.scenario.name == scenario)
    return next(usages, None)


def result_rows(results: Sequence[ProgramResult], memory: Sequence[PeakMemory]) -> Iterator[Row]:
    """All figures, named `extract/SCENARIO/PROGRAM/FIGURE`."""
    for result in results:
        name = f"extract/{result.scenario.name}/{result.program}"
        if result.usage is None:
            yield Row(f"{name}/wall", "s", None, note=result.note)
            continue
        yield from usage_rows(name, result.rounds)
        for figure, ratio in ratios(result, results).items():
            yield Row(f"{name}/{figure}_ratio", "ffmpeg / this", ratio)
        yield from _quality_rows(name, result)
    for footprint in memory:
        yield Row(f"extract/{footprint.name}", "B", footprint.bytes, note=footprint.note)


def _quality_rows(name: str, result: ProgramResult) -> Iterator[Row]:
    if result.quality:
        psnr = result.quality.fidelity.psnr if result.quality.fidelity else None
        yield Row(f"{name}/images", "images", result.quality.images, note=result.note)
        yield Row(f"{name}/right", "images", result.quality.right)
        yield Row(f"{name}/image_bytes", "B", result.quality.image_bytes)
        yield Row(f"{name}/psnr", "dB", psnr)

"""The tables of docs/benchmarks.md: the measured figures beside the required ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from benchmarks.extract.clips import CLIPS
from benchmarks.extract.compared_programs import BASELINE, ENGINE, programs
from benchmarks.extract.interleaved_rounds import ProgramResult
from benchmarks.extract.peak_memory import PeakMemory
from benchmarks.extract.report import image_kib, ratios

BEGIN, END = "<!-- benchmarks.extract -->", "<!-- end -->"
MEGABYTE = 1_000_000
MAX_MEGABYTES = {"1080p": (150, 110), "4K": (350, 260)}
"""Megabytes, by the kind of clip: the limit, and the target."""
UHD_WIDTH = 3840

Cell: TypeAlias = Callable[[ProgramResult], str]


def markdown(heading: str, results: Sequence[ProgramResult], memory: Sequence[PeakMemory]) -> str:
    """All tables. Each is left out when nothing of it was measured."""
    tables = [list(table) for table in (speed_table(results), figure_table(results), memory_table(results, memory))]
    return "\n\n".join([heading, *("\n".join(table) for table in tables if len(table) > 2)]) + "\n"


def write_between_markers(path: Path, text: str) -> None:
    """Writes a text to a file. When the file has the lines BEGIN and END, it replaces only what is between them."""
    whole = path.read_text(encoding="utf-8") if path.exists() else ""
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    path.write_text(f"{before}{begin}\n{text}{end}{after}" if begin and end else text, encoding="utf-8")


def speed_table(results: Sequence[ProgramResult]) -> Iterator[str]:
    """ffmpeg's wall time divided by each program's."""
    others = [program.name for program in programs() if program.name not in {ENGINE, BASELINE}]
    yield from _head("times as fast as ffmpeg + zip", "at least (aim)", f"**{ENGINE}**", "in CPU time", *others)
    for engine_result, group in _scenarios(results):
        scenario = engine_result.scenario
        wall, cpu = ratios(engine_result, results)["wall"], ratios(engine_result, results)["cpu"]
        cells = [
            scenario.title,
            f"{scenario.min_speedup:.1f} ({scenario.target_speedup:.1f})",
            _compare_with_minimum(wall, scenario.min_speedup),
        ]
        cells += [_number(cpu), *(_number(ratios(group[other], results)["wall"]) for other in others)]
        yield _line(cells)


def figure_table(results: Sequence[ProgramResult]) -> Iterator[str]:
    """Times, memory and image quality of this engine and of ffmpeg."""
    columns: dict[str, Cell] = {
        "seconds": lambda result: f"{result.usage.wall_seconds:.2f}" if result.usage else "–",
        "CPU seconds": lambda result: f"{result.usage.cpu_seconds:.2f}" if result.usage else "–",
        "memory, MB": lambda result: f"{result.usage.peak_bytes / MEGABYTE:.0f}" if result.usage else "–",
        "KiB an image": lambda result: f"{image_kib(result):.0f}" if result.quality else "–",
        "PSNR, dB": lambda result: (
            f"{result.quality.fidelity.psnr:.1f}" if result.quality and result.quality.fidelity else "–"
        ),
        "frames asked for": _right_frames,
    }
    yield from _head(f"{ENGINE} / {BASELINE}", *columns)
    for engine_result, group in _scenarios(results):
        pairs = (f"{cell(engine_result)} / {cell(group[BASELINE])}" for cell in columns.values())
        yield _line([engine_result.scenario.title, *pairs])


def memory_table(results: Sequence[ProgramResult], memory: Sequence[PeakMemory]) -> Iterator[str]:
    """The peak memory of this engine's process tree beside its limit and target."""
    yield from _head("peak memory, MB", "at most (aim)", ENGINE)
    for kind, (maximum, target) in MAX_MEGABYTES.items():
        peaks = {
            engine_result.scenario.title: engine_result.usage.peak_bytes / MEGABYTE
            for engine_result, _ in _scenarios(results)
            if engine_result.usage
            and (CLIPS[engine_result.scenario.clip].encoding.width == UHD_WIDTH) == (kind == "4K")
        }
        if peaks:
            worst = max(peaks, key=lambda title: peaks[title])
            yield _line(
                [
                    f"{kind}, the most of the rows above ({worst})",
                    f"{maximum} ({target})",
                    _compare_with_maximum(peaks[worst], maximum),
                ]
            )
        for peak in memory:
            if peak.kind == kind:
                yield _line(
                    [
                        peak.title,
                        f"{maximum} ({target})",
                        _compare_with_maximum(peak.bytes / MEGABYTE, maximum) if peak.bytes else peak.note,
                    ]
                )


def _scenarios(results: Sequence[ProgramResult]) -> Iterator[tuple[ProgramResult, dict[str, ProgramResult]]]:
    """This engine's result of each scenario, and all results of that scenario by program."""
    for engine_result in results:
        if engine_result.program == ENGINE:
            yield (
                engine_result,
                {result.program: result for result in results if result.scenario == engine_result.scenario},
            )


def _right_frames(result: ProgramResult) -> str:
    if result.quality is None:
        return "–"
    frames_off, count = result.quality.shift
    return f"{result.quality.right} of {result.quality.images}" + (
        f", {count} are {frames_off:+}" if frames_off else ""
    )


def _compare_with_minimum(ratio: float | None, minimum: float) -> str:
    if ratio is None:
        return "–"
    return f"**{ratio:.2f}** {'≥' if ratio >= minimum else '<'} {minimum:.1f}"


def _compare_with_maximum(megabytes: float, maximum: int) -> str:
    return f"{megabytes:.0f} {'≤' if megabytes <= maximum else '>'} {maximum}"


def _number(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def _head(*cells: str) -> Iterator[str]:
    yield _line(cells)
    yield _line(["---"] * len(cells))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

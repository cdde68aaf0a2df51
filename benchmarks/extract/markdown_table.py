"""The tables of docs/benchmarks.md: the figures beside what is promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from benchmarks.extract.clips import CLIPS
from benchmarks.extract.contestants import BASELINE, OURS, contestants
from benchmarks.extract.interleaved_rounds import Result
from benchmarks.extract.peak_memory import Footprint
from benchmarks.extract.report import image_kib, ratios

BEGIN, END = "<!-- benchmarks.extract -->", "<!-- end -->"
MEGABYTE = 1_000_000
MEMORY = {"1080p": (150, 110), "4K": (350, 260)}
"""Megabytes: at most, and aimed at."""
UHD_WIDTH = 3840

Cell: TypeAlias = Callable[[Result], str]


def markdown(heading: str, results: Sequence[Result], memory: Sequence[Footprint]) -> str:
    """All tables. Each is left out when nothing of it was measured."""
    tables = [list(table) for table in (speeds(results), figures(results), footprints(results, memory))]
    return "\n\n".join([heading, *("\n".join(table) for table in tables if len(table) > 2)]) + "\n"


def written(path: Path, text: str) -> None:
    """Writes a text to a file; where the file has the lines BEGIN and END, between them."""
    whole = path.read_text(encoding="utf-8") if path.exists() else ""
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    path.write_text(f"{before}{begin}\n{text}{end}{after}" if begin and end else text, encoding="utf-8")


def speeds(results: Sequence[Result]) -> Iterator[str]:
    """ffmpeg's wall time divided by each one's."""
    others = [one.name for one in contestants() if one.name not in {OURS, BASELINE}]
    yield from _head("times as fast as ffmpeg + zip", "at least (aim)", f"**{OURS}**", "in CPU time", *others)
    for ours, group in _scenarios(results):
        scenario = ours.scenario
        wall, cpu = ratios(ours, results)["wall"], ratios(ours, results)["cpu"]
        cells = [scenario.title, f"{scenario.floor:.1f} ({scenario.aim:.1f})", _verdict(wall, scenario.floor)]
        cells += [_number(cpu), *(_number(ratios(group[other], results)["wall"]) for other in others)]
        yield _line(cells)


def figures(results: Sequence[Result]) -> Iterator[str]:
    """What the times, the memory and the images of this engine and of ffmpeg are."""
    columns: dict[str, Cell] = {
        "seconds": lambda one: f"{one.usage.wall_seconds:.2f}" if one.usage else "–",
        "CPU seconds": lambda one: f"{one.usage.cpu_seconds:.2f}" if one.usage else "–",
        "memory, MB": lambda one: f"{one.usage.peak_bytes / MEGABYTE:.0f}" if one.usage else "–",
        "KiB an image": lambda one: f"{image_kib(one):.0f}" if one.delivery else "–",
        "PSNR, dB": lambda one: f"{one.delivery.nearness.psnr:.1f}" if one.delivery and one.delivery.nearness else "–",
        "frames asked for": _right,
    }
    yield from _head(f"{OURS} / {BASELINE}", *columns)
    for ours, group in _scenarios(results):
        pairs = (f"{cell(ours)} / {cell(group[BASELINE])}" for cell in columns.values())
        yield _line([ours.scenario.title, *pairs])


def footprints(results: Sequence[Result], memory: Sequence[Footprint]) -> Iterator[str]:
    """The peaks of this engine's process tree beside what it may need."""
    yield from _head("peak memory, MB", "at most (aim)", OURS)
    for kind, (most, aim) in MEMORY.items():
        peaks = {
            ours.scenario.title: ours.usage.peak_bytes / MEGABYTE
            for ours, _ in _scenarios(results)
            if ours.usage and (CLIPS[ours.scenario.clip].film.width == UHD_WIDTH) == (kind == "4K")
        }
        if peaks:
            worst = max(peaks, key=lambda title: peaks[title])
            yield _line([f"{kind}, the most of the rows above ({worst})", f"{most} ({aim})", _most(peaks[worst], most)])
        for one in memory:
            if one.kind == kind:
                yield _line(
                    [one.title, f"{most} ({aim})", _most(one.bytes / MEGABYTE, most) if one.bytes else one.note]
                )


def _scenarios(results: Sequence[Result]) -> Iterator[tuple[Result, dict[str, Result]]]:
    """This engine's result of each scenario, and all of it by name."""
    for ours in results:
        if ours.contestant == OURS:
            yield ours, {one.contestant: one for one in results if one.scenario == ours.scenario}


def _right(one: Result) -> str:
    if one.delivery is None:
        return "–"
    off, count = one.delivery.shift
    return f"{one.delivery.right} of {one.delivery.images}" + (f", {count} are {off:+}" if off else "")


def _verdict(ratio: float | None, floor: float) -> str:
    if ratio is None:
        return "–"
    return f"**{ratio:.2f}** {'≥' if ratio >= floor else '<'} {floor:.1f}"


def _most(megabytes: float, most: int) -> str:
    return f"{megabytes:.0f} {'≤' if megabytes <= most else '>'} {most}"


def _number(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def _head(*cells: str) -> Iterator[str]:
    yield _line(cells)
    yield _line(["---"] * len(cells))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

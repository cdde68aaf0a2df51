"""Runs all programs in one scenario, in interleaved rounds."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.extract.clips import Clip
from benchmarks.extract.compared_programs import Program, ProgramRun, programs
from benchmarks.extract.ffmpeg_quality_calibration import FILTER_SHIFT
from benchmarks.extract.image_quality import ArchiveQuality, decode_reference, measure_archive
from benchmarks.extract.scenarios import Scenario, requested_frames
from benchmarks.process_measurement import CommandFailed, Usage, median_usage

COMPARED_IMAGES = 3
"""How many images of each program have their fidelity measured."""


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """The result of one program in one scenario. note: "skipped: …", "failed: …", or a remark beside the figures.

    quality: None for a program that makes no images, and where there are no figures.
    """

    scenario: Scenario
    program: str
    rounds: tuple[Usage, ...] = ()
    quality: ArchiveQuality | None = None
    note: str = ""

    @property
    def usage(self) -> Usage | None:
        """The medians."""
        return median_usage(self.rounds) if self.rounds else None

    @property
    def failed(self) -> bool:
        return self.note.startswith("failed")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The input that is the same for all programs. source: the clip's file."""

    scenario: Scenario
    clip: Clip
    source: Path
    ffmpeg_quality: int
    threads: int


def compare(comparison: Comparison, rounds: int) -> list[ProgramResult]:
    """Runs every program in turn: the main ones `rounds` times, the others in every second round."""
    usages: dict[str, list[Usage]] = {program.name: [] for program in programs()}
    reasons = {program.name: program.unavailable(comparison.scenario) for program in programs()}
    notes = {name: f"skipped: {reason}" for name, reason in reasons.items() if reason}
    with tempfile.TemporaryDirectory(prefix="fotograma-benchmark-") as folder:
        archives: dict[str, Path] = {}
        for number in range(rounds):
            for program in _programs_in_round(number, notes):
                archive = Path(folder, f"{number}", program.name, "frames.zip")
                archive.parent.mkdir(parents=True)
                # The program's time must not include writing the previous program's output to disk.
                os.sync()
                try:
                    usages[program.name].append(program.run(_program_run(comparison, archive)))
                    if program.makes_images:
                        _drop_previous(archive, archives.get(program.name))
                        archives[program.name] = archive
                except CommandFailed as error:
                    notes[program.name] = f"failed: {error}"
        qualities = _measure_archives(comparison, archives)
        notes = {name: _fallback_note(archive) for name, archive in archives.items()} | notes
    return [
        _result(comparison, name, usage, qualities.get(name), notes.get(name, "")) for name, usage in usages.items()
    ]


def _result(
    comparison: Comparison, name: str, usages: list[Usage], quality: ArchiveQuality | None, note: str
) -> ProgramResult:
    if quality and not quality.images:
        return ProgramResult(comparison.scenario, name, note="skipped: it gives no images of this clip, and no error")
    return ProgramResult(comparison.scenario, name, tuple(usages), quality, note)


def _programs_in_round(number: int, notes: dict[str, str]) -> Sequence[Program]:
    """The programs of a round. Each round starts with another one. notes: of the programs that don't run."""
    available = [program for program in programs() if program.name not in notes]
    selected = [program for program in available if program.every_round or number % 2 == 0]
    first = number % len(selected) if selected else 0
    return selected[first:] + selected[:first]


def _drop_previous(archive: Path, previous: Path | None) -> None:
    """Deletes all but a program's newest archive: the images of a scenario can be gigabytes."""
    shutil.rmtree(archive.parent / "images", ignore_errors=True)
    if previous:
        shutil.rmtree(previous.parent)


def _program_run(comparison: Comparison, archive: Path) -> ProgramRun:
    return ProgramRun(
        comparison.source,
        archive,
        comparison.scenario,
        comparison.clip,
        comparison.ffmpeg_quality,
        comparison.threads,
    )


def _measure_archives(comparison: Comparison, archives: dict[str, Path]) -> dict[str, ArchiveQuality]:
    requested = requested_frames(comparison.scenario.sample, comparison.clip)
    cycle = comparison.clip.encoding.frames
    first = [number % cycle for number in requested[:COMPARED_IMAGES]]
    reference = decode_reference(comparison.source, [*first, *(number + FILTER_SHIFT for number in first)])
    return {name: measure_archive(archive, requested, cycle, reference) for name, archive in archives.items()}


def _fallback_note(archive: Path) -> str:
    """Why the engine fell back to another reader; empty when it did not."""
    with suppress(FileNotFoundError):
        report = json.loads((archive.parent / "report.json").read_text(encoding="utf-8"))
        return "; ".join(f"read by PyAV: {fallback['reason']}" for fallback in report["fallbacks"])
    return ""

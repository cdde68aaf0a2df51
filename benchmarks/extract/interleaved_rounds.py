"""Interleaved rounds of all contestants at one scenario."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.extract.calibration import FILTER_SHIFT
from benchmarks.extract.clips import Clip
from benchmarks.extract.contestants import Contestant, Task, contestants
from benchmarks.extract.image_quality import Delivery, decoded, delivered
from benchmarks.extract.scenarios import Scenario, frames_of
from benchmarks.process_measurement import CommandFailed, Usage, median_usage

COMPARED = 3
"""So many images tell how near to the video a contestant's are."""


@dataclass(frozen=True, slots=True)
class Result:
    """One contestant in one scenario. note: "skipped: …", "failed: …", or a remark beside the figures.

    delivery: None for one that makes no images, and where there are no figures.
    """

    scenario: Scenario
    contestant: str
    rounds: tuple[Usage, ...] = ()
    delivery: Delivery | None = None
    note: str = ""

    @property
    def usage(self) -> Usage | None:
        """The medians."""
        return median_usage(self.rounds) if self.rounds else None

    @property
    def failed(self) -> bool:
        return self.note.startswith("failed")


@dataclass(frozen=True, slots=True)
class Course:
    """What is the same for all who run. source: the clip's file."""

    scenario: Scenario
    clip: Clip
    source: Path
    ffmpeg_quality: int
    threads: int


def compare(course: Course, rounds: int) -> list[Result]:
    """Lets every contestant do the job, in turn: the main ones `rounds` times, the others in every second round."""
    usages: dict[str, list[Usage]] = {one.name: [] for one in contestants()}
    notes = {one.name: f"skipped: {why}" for one in contestants() if (why := one.missing(course.scenario))}
    with tempfile.TemporaryDirectory(prefix="fotograma-benchmark-") as name:
        archives: dict[str, Path] = {}
        for turn in range(rounds):
            for one in _starters(turn, notes):
                archive = Path(name, f"{turn}", one.name, "frames.zip")
                archive.parent.mkdir(parents=True)
                # What the one before wrote is on disk then, and its writing is not this one's time.
                os.sync()
                try:
                    usages[one.name].append(one.run(_task(course, archive)))
                    if one.images:
                        _keep(archive, archives.get(one.name))
                        archives[one.name] = archive
                except CommandFailed as failure:
                    notes[one.name] = f"failed: {failure}"
        deliveries = _deliveries(course, archives)
        notes = {one: _remark(archive) for one, archive in archives.items()} | notes
    return [_result(course, one, took, deliveries.get(one), notes.get(one, "")) for one, took in usages.items()]


def _result(course: Course, name: str, took: list[Usage], delivery: Delivery | None, note: str) -> Result:
    if delivery and not delivery.images:
        return Result(course.scenario, name, note="skipped: it gives no images of this clip, and no error")
    return Result(course.scenario, name, tuple(took), delivery, note)


def _starters(turn: int, notes: dict[str, str]) -> Sequence[Contestant]:
    """Who runs in a round; a different one is first in each."""
    here = [one for one in contestants() if one.name not in notes and (one.every_round or turn % 2 == 0)]
    first = turn % len(here) if here else 0
    return here[first:] + here[:first]


def _keep(archive: Path, before: Path | None) -> None:
    """Leaves the newest archive of a contestant alone, for the images of a scenario can be gigabytes."""
    shutil.rmtree(archive.parent / "images", ignore_errors=True)
    if before:
        shutil.rmtree(before.parent)


def _task(course: Course, archive: Path) -> Task:
    return Task(course.source, archive, course.scenario, course.clip, course.ffmpeg_quality, course.threads)


def _deliveries(course: Course, archives: dict[str, Path]) -> dict[str, Delivery]:
    wanted, cycle = frames_of(course.scenario.sample, course.clip), course.clip.film.frames
    first = [number % cycle for number in wanted[:COMPARED]]
    reference = decoded(course.source, [*first, *(number + FILTER_SHIFT for number in first)])
    return {one: delivered(archive, wanted, cycle, reference) for one, archive in archives.items()}


def _remark(archive: Path) -> str:
    """Whether the engine fell back to another reader."""
    with suppress(FileNotFoundError):
        report = json.loads((archive.parent / "report.json").read_text(encoding="utf-8"))
        return "; ".join(f"read by PyAV: {fallback['reason']}" for fallback in report["fallbacks"])
    return ""

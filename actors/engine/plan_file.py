"""plan.json: a plan that is carried out in segments, with all that the segments and their assembling need of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from actors.engine.checksummed_json import read_checksummed, write_checksummed
from actors.extraction_types import OtherEngine, ResultWarning
from actors.plan.frame_selection import Target
from actors.plan.frame_table import FrameTable
from db.values.media_info import Media


class OtherEngineError(Exception):
    """The plan or a segment was made by another engine. answer: what is said of it."""

    def __init__(self, made_by: object) -> None:
        super().__init__(made_by)
        self.answer = OtherEngine(made_by if isinstance(made_by, str) else "")


@dataclass(frozen=True, slots=True)
class TimeScale:
    """A video's times without its table. time_base: seconds of one tick. zero: pts of the first displayed frame. end:
    of the last displayed frame, seconds from the first."""

    time_base: Fraction
    zero: int
    end: Fraction

    def time(self, pts: int) -> Fraction:
        """Seconds from the first displayed frame."""
        return (pts - self.zero) * self.time_base


def time_scale_of(table: FrameTable) -> TimeScale:
    return TimeScale(table.time_base, int(table.pts[0]), table.end)


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """engine: name of the one that planned, which the segments must be made by. warnings: those that hold whatever the
    segments meet. seconds: that planning took, by stage."""

    engine: str
    media: Media
    timeline: TimeScale
    targets: tuple[Target, ...]
    warnings: tuple[ResultWarning, ...]
    seconds: Mapping[str, float]


def write_plan_file(path: Path, blueprint: StoredPlan) -> None:
    line, targets = blueprint.timeline, blueprint.targets
    document = {
        "engine": blueprint.engine,
        "media": blueprint.media.document(),
        "time_base": str(line.time_base),
        "zero": line.zero,
        "end": str(line.end),
        "index": [target.index for target in targets],
        "pts": [target.pts for target in targets],
        "key": [int(target.key) for target in targets],
        "warnings": [asdict(warning) for warning in blueprint.warnings],
        "seconds": dict(blueprint.seconds),
    }
    write_checksummed(path, document)


def read_plan_file(path: Path, engine: str) -> StoredPlan:
    """Raises NotAsStoredError; OtherEngineError when it is not a plan of this engine."""
    document = read_checksummed(path)
    check_engine(document, engine)
    columns = zip(document["index"], document["pts"], document["key"], strict=True)
    return StoredPlan(
        engine,
        Media(**document["media"]),
        TimeScale(Fraction(document["time_base"]), document["zero"], Fraction(document["end"])),
        tuple(Target(index, pts, bool(key)) for index, pts, key in columns),
        tuple(ResultWarning(**warning) for warning in document["warnings"]),
        document["seconds"],
    )


def check_engine(document: Mapping[str, object], engine: str) -> None:
    """Raises OtherEngineError. Before anything else of it is read: another engine may write it in another way."""
    if document.get("engine") != engine:
        raise OtherEngineError(document.get("engine"))

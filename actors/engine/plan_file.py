"""plan.json: a plan that is split into segments, with all that extracting and assembling them needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from actors.container.probe import Probe
from actors.engine.checksummed_json import file_sha256, read_checksummed, write_checksummed
from actors.engine.extraction_report import DecodeStats
from actors.extraction_types import EngineMismatch, ResultWarning
from actors.plan.frame_selection import Target
from actors.plan.frame_table import FrameTable
from db.values.manifest import ManifestVideo
from db.values.media_info import Media


class EngineMismatchError(Exception):
    """Another engine made the plan or a segment."""

    def __init__(self, engine: object) -> None:
        super().__init__(engine)
        self.outcome = EngineMismatch(engine if isinstance(engine, str) else "")


@dataclass(frozen=True, slots=True)
class TimeScale:
    """Converts presentation times without a frame table. time_base: seconds of one tick. first_pts: of the first
    displayed frame. end: of the last displayed frame, seconds from the start of the first."""

    time_base: Fraction
    first_pts: int
    end: Fraction

    def time_of(self, pts: int) -> Fraction:
        """Seconds from the first displayed frame."""
        return (pts - self.first_pts) * self.time_base


def time_scale_of(table: FrameTable) -> TimeScale:
    return TimeScale(table.time_base, int(table.pts[0]), table.end)


def manifest_video(probed: Probe, sha256: str | None, stats: DecodeStats) -> ManifestVideo:
    """The video as its manifest names it. sha256: of the file; None: it is computed."""
    path = probed.source.path
    if sha256 is None:
        with stats.stage("hash"):
            sha256 = file_sha256(path)
    return ManifestVideo(sha256, path.stat().st_size, probed.media)


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """engine: the name of the engine that planned; the segments must be made by the same one. warnings: of probing and
    planning. seconds: that planning took, by stage."""

    engine: str
    video: ManifestVideo
    time_scale: TimeScale
    targets: tuple[Target, ...]
    warnings: tuple[ResultWarning, ...]
    seconds: Mapping[str, float]


def write_plan_file(path: Path, plan: StoredPlan) -> None:
    document = {
        "engine": plan.engine,
        "video": {"sha256": plan.video.sha256, "size": plan.video.size},
        "media": plan.video.media.document(),
        "time_base": str(plan.time_scale.time_base),
        "first_pts": plan.time_scale.first_pts,
        "end": str(plan.time_scale.end),
        "index": [target.index for target in plan.targets],
        "pts": [target.pts for target in plan.targets],
        "key": [int(target.key) for target in plan.targets],
        "warnings": [asdict(warning) for warning in plan.warnings],
        "seconds": dict(plan.seconds),
    }
    write_checksummed(path, document)


def read_plan_file(path: Path, engine: str) -> StoredPlan:
    """Raises ChecksumMismatchError; EngineMismatchError when another engine made the plan."""
    document = read_checksummed(path)
    check_engine(document, engine)
    columns = zip(document["index"], document["pts"], document["key"], strict=True)
    return StoredPlan(
        engine,
        ManifestVideo(**document["video"], media=Media(**document["media"])),
        TimeScale(Fraction(document["time_base"]), document["first_pts"], Fraction(document["end"])),
        tuple(Target(index, pts, bool(key)) for index, pts, key in columns),
        tuple(ResultWarning(**warning) for warning in document["warnings"]),
        document["seconds"],
    )


def check_engine(document: Mapping[str, object], engine: str) -> None:
    """Raises EngineMismatchError. Called before other keys are read: another engine may write them differently."""
    if document.get("engine") != engine:
        raise EngineMismatchError(document.get("engine"))

"""The segments of a result joined: archive, manifests and contact sheet are those that `extract` alone would write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from actors.container.probe import probe
from actors.engine.checksummed_json import ChecksumMismatchError, read_checksummed, verify_file
from actors.engine.decode_pass import DecodePass, OnProgress, with_pyav
from actors.engine.extraction_report import Decoding, Images, write_report
from actors.engine.plan_file import StoredPlan, check_engine, read_plan_file
from actors.engine.result_writer import EncodedFrame, ResultRequest, ResultWriter, WrittenResult
from actors.extraction_types import (
    IMAGES,
    INDEX,
    NOTES,
    REPORT,
    SMALL,
    Extracted,
    Options,
    Planned,
    Progress,
    Reader,
    ResultWarning,
)
from actors.images.frame_arrays import Plane, YuvPlanes
from actors.plan.frame_selection import GopTargets, Plan, Target, gop_targets, to_decode
from db.values.frame_spec import FrameSpec

Notes = Mapping[str, Any]


def assemble(
    source: Path,
    plan: Path,
    segments: Sequence[Path],
    spec: FrameSpec,
    out: Path,
    *,
    engine: str,
    options: Options,
    tell: OnProgress,
) -> Extracted:
    """segments: the folders of the segments' files, in time order.

    source: is only opened when decord was believed for some segments and found wrong in others: then PyAV reads it all.
    Raises FotogramaError of fault file, ChecksumMismatchError, OSError; OtherEngineError when plan or segments are not
    all this engine's.
    """
    blueprint = read_plan_file(plan, engine)
    notes = [_notes(segment, engine) for segment in segments]
    decoding, warnings = _decoding(blueprint, notes), _warnings(notes)
    whole = Plan((GopTargets(None, blueprint.targets),), len(blueprint.targets), ())
    order = ResultRequest(spec, whole, out, blueprint.warnings)
    work = _Assembly(blueprint, order, warnings, options, tell, decoding)
    if warnings and len({note["reader"] for note in notes}) > 1:
        end = _read_again(work, source)
    else:
        tell(Planned(blueprint.media, whole.frames, 0))
        end = _joined(work, zip(segments, notes, strict=True))
    images = Images(whole.frames, end.images, end.missing)
    write_report(out / REPORT, decoding, images, av.ffmpeg_version_info, segments=_told(notes))
    return Extracted(blueprint.media, end.images, end.size, end.sha256, end.warnings)


def _notes(segment: Path, engine: str) -> Notes:
    notes = read_checksummed(segment / NOTES)
    check_engine(notes, engine)
    return notes


@dataclass(frozen=True, slots=True)
class _Assembly:
    """warnings, decoding: of all segments."""

    blueprint: StoredPlan
    order: ResultRequest
    warnings: list[ResultWarning]
    options: Options
    tell: OnProgress
    decoding: Decoding

    def open(self, order: ResultRequest) -> ResultWriter:
        return ResultWriter(order, self.blueprint.timeline, self.blueprint.media)


def _joined(work: _Assembly, segments: Iterable[tuple[Path, Notes]]) -> WrittenResult:
    missing = []
    with work.open(work.order) as result, work.decoding.stage("assemble"):
        for segment, notes in segments:
            for target, made in _stored(segment, notes):
                if made is None:
                    missing.append(target)
                else:
                    result.add(target, made)
                    work.tell(Progress(result.images))
        return result.finish(missing, work.warnings)


def _read_again(work: _Assembly, source: Path) -> WrittenResult:
    probed = probe(source)
    planned = gop_targets(probed.table, [target.index for target in work.blueprint.targets])
    work.tell(Planned(probed.media, work.order.plan.frames, to_decode(probed.table, planned)))
    again = DecodePass(probed, [work.order], planned, work.open, work.options, work.tell, work.decoding, work.warnings)
    (finished,) = with_pyav(again)
    return finished


def _stored(segment: Path, notes: Notes) -> Iterator[tuple[Target, EncodedFrame | None]]:
    """The frames of a segment in order, then those that are missing. Raises ChecksumMismatchError."""
    for name, digest in notes["sha256"].items():
        verify_file(segment / name, digest)
    with (segment / INDEX).open(encoding="ascii") as index, (segment / IMAGES).open("rb") as images:  # noqa: SIM117
        with (segment / SMALL).open("rb") as small:
            for row in map(json.loads, index):
                target = Target(row["index"], row["pts"], row["key"])
                yield target, _made(row, images, small) if "sha256" in row else None


def _made(row: Mapping[str, Any], images: BinaryIO, small: BinaryIO) -> EncodedFrame:
    data = images.read(row["bytes"])
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise ChecksumMismatchError(IMAGES)
    planes = [_plane(small, shape) for shape in row["small"]]
    picture = YuvPlanes(planes[0].shape[1], planes[0].shape[0], *planes) if planes else None
    return EncodedFrame(data, row["width"], row["height"], picture)


def _plane(small: BinaryIO, shape: Sequence[int]) -> Plane:
    return np.frombuffer(small.read(prod(shape)), np.uint8).reshape(shape)


def _warnings(notes: Sequence[Notes]) -> list[ResultWarning]:
    """Of all segments, each once."""
    told = [ResultWarning(**warning) for note in notes for warning in note["warnings"]]
    return list(dict.fromkeys(told))


def _decoding(blueprint: StoredPlan, notes: Sequence[Notes]) -> Decoding:
    """Of planning and all segments together."""
    decoding = Decoding(table=blueprint.media.frames, seconds=dict(blueprint.seconds))
    decoding.reader = Reader.DECORD if all(note["reader"] == Reader.DECORD for note in notes) else Reader.PYAV
    for note in notes:
        decoding.decoded += note["decoded"]
        decoding.repeated += note["repeated"]
        decoding.fallbacks += [fallback for fallback in note["fallbacks"] if fallback not in decoding.fallbacks]
        for stage, seconds in note["seconds"].items():
            decoding.seconds[stage] = decoding.seconds.get(stage, 0.0) + seconds
    return decoding


def _told(notes: Sequence[Notes]) -> list[dict[str, Any]]:
    """What the report says of each segment."""
    return [{"reader": note["reader"], "careful": note["careful"], "decoded": note["decoded"]} for note in notes]

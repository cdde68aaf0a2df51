"""Long work in segments: how a plan is split, and how one segment is carried out.

A segment's files are images.bin (images, back to back), small.bin (planes of the pictures on the contact sheet, back
to back), index.jsonl (an object a line: each image with its digest, then the frames that are missing) and segment.json
(how and by which engine it was made, checksummed, with the digests of index.jsonl and small.bin).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

from actors.container.probe import Probe, probe
from actors.engine.checksummed_json import ChecksumMismatchError, write_checksummed
from actors.engine.contact_sheet import sheet_targets
from actors.engine.decode_pass import DecodePass, OnProgress, run_pass
from actors.engine.extraction_report import Decoding
from actors.engine.plan_file import StoredPlan, read_plan_file, time_scale_of, write_plan_file
from actors.engine.result_writer import EncodedFrame, OutputWriter, ResultRequest, WrittenResult
from actors.extraction_types import (
    IMAGES,
    INDEX,
    NOTES,
    PLAN,
    SMALL,
    Options,
    Planned,
    Reader,
    ResultWarning,
    SegmentExtracted,
    Split,
)
from actors.plan.decode_deadline import usual_seconds
from actors.plan.frame_selection import Plan, Target, gop_targets, segment_count, split_plan, to_decode
from actors.readers.planned_reader import CODECS, is_proven
from db.values.frame_spec import FrameSpec
from db.values.segment import Segment


def plan_segments(probed: Probe, order: ResultRequest, decoding: Decoding, longest: float, engine: str) -> Split | None:
    """Writes plan.json and gives the segments; None when the work is short or must be done in one go."""
    table, planned = probed.table, order.plan
    seconds = usual_seconds(Planned(probed.media, planned.frames, to_decode(table, planned.gops)))
    count = min(segment_count(seconds, longest), len(planned.gops))
    if count < 2 or not _begins_at_keys(probed):
        return None
    found = split_plan(table, planned.gops, count)
    if len(found) < 2:
        return None
    targets = tuple(order.targets())
    blueprint = StoredPlan(engine, probed.media, time_scale_of(table), targets, order.warnings, decoding.seconds)
    write_plan_file(order.out / PLAN, blueprint)
    return Split(probed.media, planned.frames, found)


def _begins_at_keys(probed: Probe) -> bool:
    """Whether a later segment need not decode all that comes before it."""
    if not probed.is_interlaced:
        return is_proven(probed)
    return (
        probed.seeks_exactly
        and probed.media.codec in CODECS
        and not (probed.table.by_ordinal or probed.corrupt_packets)
    )


def extract_segment(
    source: Path,
    plan: Path,
    segment: Segment,
    spec: FrameSpec,
    out: Path,
    *,
    engine: str,
    options: Options,
    tell: OnProgress,
) -> SegmentExtracted:
    """Carries out one segment of a plan: `out` gets its files.

    Raises FotogramaError of fault file; OSError; ChecksumMismatchError when plan or video are not what was planned on;
    OtherEngineError when the plan is another engine's.
    """
    blueprint, decoding = read_plan_file(plan, engine), Decoding()
    with decoding.stage("probe"):
        probed = probe(source)
    targets = blueprint.targets[segment.first : segment.stop]
    _check_times(probed, targets)
    planned = gop_targets(probed.table, [target.index for target in targets])
    order = ResultRequest(spec, Plan(planned, len(targets), ()), out)
    on_sheet = {target.pts for target in sheet_targets(blueprint.targets)}
    tell(Planned(probed.media, len(targets), to_decode(probed.table, planned)))

    def writer(order: ResultRequest) -> SegmentWriter:
        return SegmentWriter(order, on_sheet)

    (finished,) = run_pass(DecodePass(probed, [order], planned, writer, options, tell, decoding))
    _write_notes(out, engine, decoding, finished.warnings, careful=options.careful)
    return SegmentExtracted(finished.images)


def _check_times(probed: Probe, targets: Sequence[Target]) -> None:
    pts = probed.table.pts
    if any(target.index >= len(pts) or int(pts[target.index]) != target.pts for target in targets):
        raise ChecksumMismatchError("the video")


class SegmentWriter(OutputWriter):
    """A segment's files while they grow."""

    def __init__(self, order: ResultRequest, on_sheet: Collection[int]) -> None:
        super().__init__(order, on_sheet)
        self._images = (order.out / IMAGES).open("wb")
        self._small = (order.out / SMALL).open("wb")
        self._index = (order.out / INDEX).open("w", encoding="ascii")
        self._digest, self._count, self._size = hashlib.sha256(), 0, 0

    @property
    def images(self) -> int:
        return self._count

    def add(self, target: Target, made: EncodedFrame) -> None:
        shapes = []
        if made.small is not None and self.shows(target.pts):
            for plane in (made.small.y, made.small.u, made.small.v):
                self._small.write(plane.tobytes())
                shapes.append(plane.shape)
        self._images.write(made.data)
        self._digest.update(made.data)
        self._count, self._size = self._count + 1, self._size + len(made.data)
        digest = hashlib.sha256(made.data).hexdigest()
        row = asdict(target) | {"width": made.width, "height": made.height, "bytes": len(made.data), "sha256": digest}
        self._write_row(row | {"small": shapes})

    def finish(self, missing: Sequence[Target], warnings: Sequence[ResultWarning]) -> WrittenResult:
        for target in missing:
            self._write_row(asdict(target))
        self.close()
        return WrittenResult(self._count, self._size, self._digest.hexdigest(), len(missing), tuple(warnings))

    def close(self) -> None:
        for file in (self._images, self._small, self._index):
            file.close()

    def _write_row(self, row: dict[str, object]) -> None:
        self._index.write(json.dumps(row) + "\n")


def _write_notes(
    out: Path, engine: str, decoding: Decoding, warnings: Sequence[ResultWarning], *, careful: bool
) -> None:
    digests = {}
    for name in (INDEX, SMALL):
        with (out / name).open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    notes = {
        "engine": engine,
        "reader": Reader.PYAV if careful else decoding.reader,
        "careful": careful,
        "fallbacks": decoding.fallbacks,
        "warnings": [asdict(warning) for warning in warnings],
        "seconds": decoding.seconds,
        "decoded": decoding.decoded,
        "repeated": decoding.repeated,
        "sha256": digests,
    }
    write_checksummed(out / NOTES, notes)

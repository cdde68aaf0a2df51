"""The files of an extracted segment: one task writes them, and the task that assembles the result reads them.

images.bin holds the images back to back, and thumbnails.bin the planes of the contact sheet's thumbnails. index.jsonl
has an object per line: first the images with their digests, then the missing frames. segment.json tells which engine
made the segment and how, and has the digests of index.jsonl and thumbnails.bin and a checksum of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from actors.engine.checksummed_json import (
    ChecksumMismatchError,
    file_sha256,
    read_checksummed,
    verify_file,
    write_checksummed,
)
from actors.engine.contact_sheet import ContactSheet, cell_for, sheet_targets
from actors.engine.extraction_report import DecodeStats
from actors.engine.plan_file import StoredPlan, check_engine
from actors.engine.preview_sheet import PreviewSheet
from actors.engine.result_writer import EncodedFrame, OutputWriter, ResultRequest, WrittenResult
from actors.extraction_types import (
    SEGMENT_IMAGES,
    SEGMENT_INDEX,
    SEGMENT_REPORT,
    SEGMENT_THUMBNAILS,
    Reader,
    ResultWarning,
)
from actors.images.frame_arrays import Plane, YuvPlanes
from actors.plan.frame_selection import Target

SegmentReport = Mapping[str, Any]
"""The content of segment.json."""


class SegmentWriter(OutputWriter):
    """Writes images.bin, thumbnails.bin and index.jsonl.

    The preview has thumbnails of its own: of the whole result's contact sheet, a segment may have one or none.
    """

    def __init__(
        self, request: ResultRequest, sheet_pts: Collection[int], plan: StoredPlan, preview_seconds: float = math.inf
    ) -> None:
        preview_pts = [target.pts for target in sheet_targets(request.targets())] if preview_seconds < math.inf else []
        super().__init__(request, [*sheet_pts, *preview_pts])
        self._sheet_pts, self._preview_pts = frozenset(sheet_pts), frozenset(preview_pts)
        self._time_scale, media = plan.time_scale, plan.video.media
        self._sheet = ContactSheet(request.out, cell_for(media.width, media.height), len(preview_pts))
        self._preview = PreviewSheet(request.out, self._sheet, preview_pts, plan.time_scale, preview_seconds)
        self._images = (request.out / SEGMENT_IMAGES).open("wb")
        self._thumbnails = (request.out / SEGMENT_THUMBNAILS).open("wb")
        self._index = (request.out / SEGMENT_INDEX).open("w", encoding="ascii")
        self._digest, self._image_count, self._size = hashlib.sha256(), 0, 0

    @property
    def image_count(self) -> int:
        return self._image_count

    def add(self, target: Target, frame: EncodedFrame) -> None:
        shapes = []
        if frame.thumbnail is not None and target.pts in self._sheet_pts:
            for plane in (frame.thumbnail.y, frame.thumbnail.u, frame.thumbnail.v):
                self._thumbnails.write(plane.tobytes())
                shapes.append(plane.shape)
        self._images.write(frame.data)
        self._digest.update(frame.data)
        size, digest = len(frame.data), hashlib.sha256(frame.data).hexdigest()
        self._image_count, self._size = self._image_count + 1, self._size + size
        row = asdict(target) | {"width": frame.width, "height": frame.height, "bytes": size, "sha256": digest}
        self._write_row(row | {"thumbnail": shapes})
        if frame.thumbnail is not None and target.pts in self._preview_pts:
            self._sheet.add(frame.thumbnail, self._time_scale.time_of(target.pts))
        self._preview.update(self._image_count, target.pts)
        self.preview_frames = self._preview.frames

    def finish(self, missing: Sequence[Target], warnings: Sequence[ResultWarning]) -> WrittenResult:
        for target in missing:
            self._write_row(asdict(target))
        self.close()
        return WrittenResult(self._image_count, self._size, self._digest.hexdigest(), len(missing), tuple(warnings))

    def close(self) -> None:
        for file in (self._images, self._thumbnails, self._index):
            file.close()

    def _write_row(self, row: dict[str, object]) -> None:
        self._index.write(json.dumps(row) + "\n")


def write_segment_report(
    folder: Path, engine: str, stats: DecodeStats, warnings: Sequence[ResultWarning], *, sequential: bool
) -> None:
    report = {
        "engine": engine,
        "reader": Reader.PYAV if sequential else stats.reader,
        "sequential": sequential,
        "fallbacks": stats.fallbacks,
        "warnings": [asdict(warning) for warning in warnings],
        "seconds": stats.seconds,
        "decoded": stats.decoded,
        "repeated": stats.repeated,
        "sha256": {name: file_sha256(folder / name) for name in (SEGMENT_INDEX, SEGMENT_THUMBNAILS)},
    }
    write_checksummed(folder / SEGMENT_REPORT, report)


def read_segment_report(folder: Path, engine: str) -> SegmentReport:
    """Raises ChecksumMismatchError; EngineMismatchError when another engine made the segment."""
    report = read_checksummed(folder / SEGMENT_REPORT)
    check_engine(report, engine)
    return report


def read_segment_frames(folder: Path, report: SegmentReport) -> Iterator[tuple[Target, EncodedFrame | None]]:
    """The frames of a segment in order, then those that are missing. Raises ChecksumMismatchError."""
    for name, digest in report["sha256"].items():
        verify_file(folder / name, digest)
    with (
        (folder / SEGMENT_INDEX).open(encoding="ascii") as index,
        (folder / SEGMENT_IMAGES).open("rb") as images,
        (folder / SEGMENT_THUMBNAILS).open("rb") as thumbnails,
    ):
        for row in map(json.loads, index):
            target = Target(row["index"], row["pts"], row["key"])
            yield target, _read_frame(row, images, thumbnails) if "sha256" in row else None


def _read_frame(row: Mapping[str, Any], images: BinaryIO, thumbnails: BinaryIO) -> EncodedFrame:
    data = images.read(row["bytes"])
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise ChecksumMismatchError(SEGMENT_IMAGES)
    planes = [_read_plane(thumbnails, shape) for shape in row["thumbnail"]]
    thumbnail = YuvPlanes(planes[0].shape[1], planes[0].shape[0], *planes) if planes else None
    return EncodedFrame(data, row["width"], row["height"], thumbnail)


def _read_plane(thumbnails: BinaryIO, shape: Sequence[int]) -> Plane:
    return np.frombuffer(thumbnails.read(prod(shape)), np.uint8).reshape(shape)

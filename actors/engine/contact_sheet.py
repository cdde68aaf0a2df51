"""The contact sheet: thumbnails of a result in one JPEG, and a WebVTT index with the place and time of each.

It is made from pictures that are encoded anyway, while the archive is written, and is the same for the same archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from actors.engine.archive_writer import half_up
from actors.images.color_conversion import Filters
from actors.images.filter_graph import ThreadFilterGraph
from actors.images.frame_arrays import Plane, YuvPlanes, yuv_planes_of
from actors.images.frame_format import BT601, FULL, LIMITED, FrameFormat, frame_format_of
from actors.images.image_encoder import encode_jpeg
from actors.plan.frame_selection import Target
from db.values.frame_spec import ImageFormat

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

SHEET_NAME, INDEX_NAME = "sheet.jpg", "sheet.vtt"
MAX_CELLS = 100
MAX_COLUMNS = 10
CELL_WIDTH = 160
MAX_CELL_HEIGHT = 320
JPEG_QUALITY = 80
_NEUTRAL_CHROMA = 128


@dataclass(frozen=True, slots=True)
class ThumbnailCell:
    """The size of each thumbnail's place, pixels, both even."""

    width: int
    height: int

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """The size of a thumbnail of width × height pixels: as large as the cell allows, and never enlarged."""
        scale = min(Fraction(1), Fraction(self.width, width), Fraction(self.height, height))
        return max(1, half_up(width * scale)), max(1, half_up(height * scale))


def cell_for(width: int, height: int) -> ThumbnailCell:
    """The cell for pictures of width × height pixels."""
    cell_height = half_up(Fraction(CELL_WIDTH * height, width))
    return ThumbnailCell(CELL_WIDTH, min(MAX_CELL_HEIGHT, max(2, cell_height + cell_height % 2)))


def sheet_targets(targets: Sequence[Target]) -> list[Target]:
    """The targets on the sheet: the first, the last, and others at even distances, at most MAX_CELLS."""
    count = min(len(targets), MAX_CELLS)
    if count < 2:
        return list(targets)
    return [targets[i * (len(targets) - 1) // (count - 1)] for i in range(count)]


class ThumbnailScaler:
    """Scales an encoded picture down to a cell. Thread-safe."""

    def __init__(self, cell: ThumbnailCell, image_format: ImageFormat) -> None:
        self._cell = cell
        self._range = LIMITED if image_format is ImageFormat.WEBP else FULL
        self._graph = ThreadFilterGraph()

    def scale(self, picture: VideoFrame) -> YuvPlanes:
        """The thumbnail in full-range BT.601, 4:2:0."""
        source = frame_format_of(picture)
        if not picture.format.is_rgb:
            source = replace(source, matrix=BT601, range=self._range)
            picture.colorspace, picture.color_range = source.matrix, source.range
        return yuv_planes_of(self._graph.prepare(source, self._filters)(picture))

    def _filters(self, source: FrameFormat) -> Filters:
        width, height = self._cell.fit(source.width, source.height)
        source_range = "pc" if source.range == FULL else "tv"
        arguments = f"{width}:{height}:flags=area+accurate_rnd+bitexact:in_range={source_range}"
        return [("scale", f"{arguments}:out_color_matrix=bt601:out_range=pc"), ("format", "yuv420p")]


class ContactSheet:
    """Takes thumbnails in time order, at most `count`, and writes sheet.jpg and sheet.vtt into a folder."""

    def __init__(self, folder: Path, cell: ThumbnailCell, count: int) -> None:
        self._folder, self._cell = folder, cell
        self._columns = max(1, min(MAX_COLUMNS, count))
        rows = -(-count // self._columns)
        width, height = self._columns * cell.width, rows * cell.height
        self._y = np.zeros((height, width), np.uint8)
        self._u, self._v = (np.full((height // 2, width // 2), _NEUTRAL_CHROMA, np.uint8) for _ in "uv")
        self._times: list[Fraction] = []

    def add(self, thumbnail: YuvPlanes, time: Fraction) -> None:
        """time: the frame's own, seconds."""
        x, y = self._corner(len(self._times))
        # An even position, so that luma and chroma stay aligned.
        left = x + (self._cell.width - thumbnail.width) // 4 * 2
        top = y + (self._cell.height - thumbnail.height) // 4 * 2
        _paste(self._y, thumbnail.y, left, top)
        _paste(self._u, thumbnail.u, left // 2, top // 2)
        _paste(self._v, thumbnail.v, left // 2, top // 2)
        self._times.append(time)

    @property
    def thumbnail_count(self) -> int:
        """Thumbnails that are on the sheet so far."""
        return len(self._times)

    def finish(self, end: Fraction) -> None:
        """end: of the video, seconds."""
        (self._folder / SHEET_NAME).write_bytes(self.jpeg())
        (self._folder / INDEX_NAME).write_text(self.index(end), encoding="ascii")

    def jpeg(self) -> bytes:
        """The thumbnails so far, which keep their places when more are added. At least one."""
        height = -(-len(self._times) // self._columns) * self._cell.height
        sheet = YuvPlanes(self._y.shape[1], height, self._y[:height], self._u[: height // 2], self._v[: height // 2])
        return encode_jpeg(sheet, JPEG_QUALITY)

    def index(self, end: Fraction) -> str:
        """The WebVTT index of `jpeg`. end: until when the last thumbnail is shown, seconds."""
        return "WEBVTT\n" + "".join(self._cues(end))

    def _corner(self, number: int) -> tuple[int, int]:
        row, column = divmod(number, self._columns)
        return column * self._cell.width, row * self._cell.height

    def _cues(self, end: Fraction) -> list[str]:
        cues = []
        bounds = [*self._times, max(end, *self._times)]
        for number, (start, stop) in enumerate(pairwise(bounds)):
            start_text, stop_text = _vtt_timestamp(start), _vtt_timestamp(stop)
            if start_text != stop_text:  # a cue must end after it starts
                x, y = self._corner(number)
                area = f"{SHEET_NAME}#xywh={x},{y},{self._cell.width},{self._cell.height}"
                cues.append(f"\n{start_text} --> {stop_text}\n{area}\n")
        return cues


def _paste(sheet: Plane, thumbnail: Plane, left: int, top: int) -> None:
    sheet[top : top + thumbnail.shape[0], left : left + thumbnail.shape[1]] = thumbnail


def _vtt_timestamp(seconds: Fraction) -> str:
    """Milliseconds are rounded half up."""
    whole, thousandths = divmod(half_up(seconds * 1000), 1000)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest:02d}.{thousandths:03d}"

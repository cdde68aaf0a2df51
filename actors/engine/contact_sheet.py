"""The contact sheet: small pictures of a result in one JPEG, and a WebVTT index of where and when each is.

It is made while the archive is written, of pictures that are there anyway, and is the same for the same archive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from actors.engine.zip_archive import half_up
from actors.images.color_conversion import BT601, FULL, LIMITED, ColorProperties, Filters
from actors.images.image_encoder import Plane, YuvPlanes, chain_of, color_properties_of, jpeg, planes_of
from actors.plan.frame_selection import Target
from db.values.frame_spec import ImageFormat

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

SHEET, INDEX = "sheet.jpg", "sheet.vtt"
MAX_CELLS = 100
COLUMNS = 10
CELL_WIDTH = 160
MAX_CELL_HEIGHT = 320
QUALITY = 80
_NO_COLOR = 128


@dataclass(frozen=True, slots=True)
class ThumbnailCell:
    """Size of a small picture's place, pixels, both even."""

    width: int
    height: int

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """The size of a picture in here: as large as possible, but no larger than it is."""
        shrink = min(Fraction(1), Fraction(self.width, width), Fraction(self.height, height))
        return max(1, half_up(width * shrink)), max(1, half_up(height * shrink))


def cell_of(width: int, height: int) -> ThumbnailCell:
    """The cell for pictures of width × height pixels."""
    high = half_up(Fraction(CELL_WIDTH * height, width))
    return ThumbnailCell(CELL_WIDTH, min(MAX_CELL_HEIGHT, max(2, high + high % 2)))


def chosen(targets: Sequence[Target]) -> list[Target]:
    """The images that are on the sheet: the first, the last, and some evenly between."""
    count = min(len(targets), MAX_CELLS)
    if count < 2:
        return list(targets)
    return [targets[i * (len(targets) - 1) // (count - 1)] for i in range(count)]


class ThumbnailScaler:
    """Makes an image's picture as small as a cell; any thread may ask."""

    def __init__(self, cell: ThumbnailCell, image_format: ImageFormat) -> None:
        self._cell = cell
        self._range = LIMITED if image_format is ImageFormat.WEBP else FULL
        self._chain = _ChainOfThread()

    def reduce(self, picture: VideoFrame) -> YuvPlanes:
        """The picture in full-range BT.601, 4:2:0."""
        looks = color_properties_of(picture)
        if not picture.format.is_rgb:
            looks = replace(looks, matrix=BT601, range=self._range)
            picture.colorspace, picture.color_range = looks.matrix, looks.range
        chain = self._chain
        if chain.run is None or looks != chain.looks:
            chain.run, chain.looks = chain_of(looks, self._filters(looks)), looks
        return planes_of(chain.run(picture))

    def _filters(self, looks: ColorProperties) -> Filters:
        width, height = self._cell.fit(looks.width, looks.height)
        span = "pc" if looks.range == FULL else "tv"
        method = f"{width}:{height}:flags=area+accurate_rnd+bitexact:in_range={span}"
        return [("scale", f"{method}:out_color_matrix=bt601:out_range=pc"), ("format", "yuv420p")]


class _ChainOfThread(threading.local):
    looks: ColorProperties | None = None
    run: Callable[[VideoFrame], VideoFrame] | None = None


class ContactSheet:
    """Takes small pictures in time order, at most `count`, and writes sheet.jpg and sheet.vtt into a folder."""

    def __init__(self, folder: Path, cell: ThumbnailCell, count: int) -> None:
        self._folder, self._cell = folder, cell
        self._columns = max(1, min(COLUMNS, count))
        rows = -(-count // self._columns)
        width, height = self._columns * cell.width, rows * cell.height
        self._y = np.zeros((height, width), np.uint8)
        self._u, self._v = (np.full((height // 2, width // 2), _NO_COLOR, np.uint8) for _ in "uv")
        self._times: list[Fraction] = []

    def add(self, small: YuvPlanes, time: Fraction) -> None:
        """time: the frame's own, seconds."""
        x, y = self._corner(len(self._times))
        # An even place, so that brightness and color stay on top of each other.
        left = x + (self._cell.width - small.width) // 4 * 2
        top = y + (self._cell.height - small.height) // 4 * 2
        _paste(self._y, small.y, left, top)
        _paste(self._u, small.u, left // 2, top // 2)
        _paste(self._v, small.v, left // 2, top // 2)
        self._times.append(time)

    def finish(self, end: Fraction) -> None:
        """end: of the video, seconds."""
        height = -(-len(self._times) // self._columns) * self._cell.height
        sheet = YuvPlanes(self._y.shape[1], height, self._y[:height], self._u[: height // 2], self._v[: height // 2])
        (self._folder / SHEET).write_bytes(jpeg(sheet, QUALITY))
        (self._folder / INDEX).write_text("WEBVTT\n" + "".join(self._cues(end)), encoding="ascii")

    def _corner(self, place: int) -> tuple[int, int]:
        row, column = divmod(place, self._columns)
        return column * self._cell.width, row * self._cell.height

    def _cues(self, end: Fraction) -> list[str]:
        cues = []
        bounds = [*self._times, max(end, *self._times)]
        for place, (start, stop) in enumerate(pairwise(bounds)):
            begins, ends = _clock(start), _clock(stop)
            if begins != ends:  # a cue must last
                x, y = self._corner(place)
                where = f"{SHEET}#xywh={x},{y},{self._cell.width},{self._cell.height}"
                cues.append(f"\n{begins} --> {ends}\n{where}\n")
        return cues


def _paste(sheet: Plane, small: Plane, left: int, top: int) -> None:
    sheet[top : top + small.shape[0], left : left + small.shape[1]] = small


def _clock(seconds: Fraction) -> str:
    """A WebVTT timestamp, milliseconds half up."""
    whole, thousandths = divmod(half_up(seconds * 1000), 1000)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest:02d}.{thousandths:03d}"

"""Detects scenes: finds cuts by the change of content from frame to frame.

Score and filter are those of PySceneDetect's ContentDetector with its defaults (scenedetect.com/docs, version 0.6). The
score is the mean absolute difference of hue, saturation and value of scaled-down pictures, with equal weights, in
OpenCV's 8-bit HSV (hue 0–179). A frame with the threshold or more is a cut. A scene lasts at least MIN_SCENE_FRAMES:
cuts that follow faster are merged into one, at the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from actors.container.display_geometry import DisplayGeometry
from actors.images.frame_arrays import rgb_array_of
from actors.images.frame_renderer import FrameRenderer
from actors.plan.frame_selection import group_by_gop
from actors.plan.frame_table import FrameTable
from actors.readers.frame_reader import FrameReader
from db.values.frame_spec import ImageFormat

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

MIN_SCENE_FRAMES = 15
COMPARED_SIDE = 256
_BT709_TRANSFER = 1
_SIZE_CHANGED_SCORE = Fraction(255)
"""The score of a frame whose size differs from the frame before it."""

Hsv = NDArray[np.int16]
"""Height × width × 3."""


def detect_scenes(reader: FrameReader, table: FrameTable, frames: range, threshold: Fraction) -> list[int]:
    """The first frame of every scene in a range of frames; the first scene starts where the range starts.

    Decodes the whole range; skips frames that can't be decoded.
    """
    if not frames:
        return []
    renderer = FrameRenderer(DisplayGeometry(), COMPARED_SIDE, ImageFormat.PNG)

    def to_hsv(frame: VideoFrame) -> Hsv:
        frame.color_trc = _BT709_TRANSFER  # tone mapping takes much time and moves no cut
        return hsv(rgb_array_of(renderer.render(frame)))

    pictures = reader.read(group_by_gop(table, frames), to_hsv)
    scored = _scores((target.index, picture) for target, picture in pictures)
    cuts = find_cuts((index, score >= threshold) for index, score in scored)
    return [frames.start, *(index for index in cuts if index > frames.start)]


def find_cuts(frames: Iterable[tuple[int, bool]]) -> Iterator[int]:
    """The frames that start a scene. frames: index, ascending, and whether the frame differs from the one before it.

    PySceneDetect's FlashFilter in its mode MERGE: differences less than MIN_SCENE_FRAMES apart are one cut, at the last
    of them. They are no cut before the first cut of all, and none when the video ends before they do.
    """
    latest_difference: int | None = None
    merge_start: int | None = None
    has_cut = False
    for index, differs in frames:
        reference = index if latest_difference is None else latest_difference
        is_quiet = index - reference >= MIN_SCENE_FRAMES
        latest_difference = index if differs or latest_difference is None else latest_difference
        if merge_start is not None:
            if is_quiet and not differs and latest_difference - merge_start >= MIN_SCENE_FRAMES:
                merge_start = None
                yield latest_difference
        elif differs and is_quiet:
            has_cut = True
            yield index
        elif differs and has_cut:
            merge_start = index


def hsv(rgb: NDArray[np.uint8]) -> Hsv:
    """Hue 0–179, saturation and value 0–255, rounded."""
    red, green, blue = (rgb[..., channel].astype(np.float32) for channel in range(3))
    value = np.maximum(np.maximum(red, green), blue)
    spread = value - np.minimum(np.minimum(red, green), blue)
    divisor = np.where(spread > 0, spread, np.float32(1))
    hue = np.where(
        value == red,
        (green - blue) / divisor,
        np.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    saturation = 255 * spread / np.maximum(value, 1)
    degrees = np.rint(np.where(hue < 0, hue + 6, hue) * 30)
    return np.stack([degrees % 180, np.rint(saturation), value], axis=-1).astype(np.int16)


def _scores(pictures: Iterable[tuple[int, Hsv]]) -> Iterator[tuple[int, Fraction]]:
    previous: Hsv | None = None
    for index, picture in pictures:
        yield index, _score(previous, picture)
        previous = picture


def _score(previous: Hsv | None, picture: Hsv) -> Fraction:
    if previous is None:
        return Fraction(0)
    if previous.shape != picture.shape:
        return _SIZE_CHANGED_SCORE
    return Fraction(int(np.abs(picture - previous).sum(dtype=np.int64)), picture.size)

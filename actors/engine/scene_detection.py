"""Where shots begin: cuts by the change of content from frame to frame.

The score and its filter are those of PySceneDetect's ContentDetector with its defaults (docs: scenedetect.com/docs,
"ContentDetector"; version 0.6): the mean absolute difference of hue, saturation and value, as OpenCV's 8-bit HSV has
them (hue 0–179), of small pictures; equal weights; a frame that scores the threshold or more is a cut. A shot lasts at
least 15 frames: quicker cuts are merged into one, where they end.
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
from actors.plan.frame_selection import gop_targets
from actors.plan.frame_table import FrameTable
from actors.readers.frame_reader import FrameReader
from db.values.frame_spec import ImageFormat

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

SHOT_FRAMES = 15
"""The least length of a shot."""
COMPARED_SIDE = 256
_BT709_TRANSFER = 1
_ANOTHER_SIZE = Fraction(255)
"""The score of a frame that can't be compared with the one before."""

Hsv = NDArray[np.int16]
"""Height × width × 3."""


def shots(reader: FrameReader, table: FrameTable, frames: range, threshold: Fraction) -> list[int]:
    """The first frame of every shot in a range of frames; where the range begins, one begins.

    Decodes all of the range; frames that can't be decoded are passed over.
    """
    if not frames:
        return []
    small = FrameRenderer(DisplayGeometry(), COMPARED_SIDE, ImageFormat.PNG)

    def content(frame: VideoFrame) -> Hsv:
        frame.color_trc = _BT709_TRANSFER  # tone mapping would cost much and move no cut
        return hsv(rgb_array_of(small.render(frame)))

    pictures = reader.read(gop_targets(table, frames), content)
    scored = _scores((target.index, picture) for target, picture in pictures)
    found = cuts((index, score >= threshold) for index, score in scored)
    return [frames.start, *(index for index in found if index > frames.start)]


def cuts(frames: Iterable[tuple[int, bool]]) -> Iterator[int]:
    """Of frames, ascending, and whether each differs from the one before: those that begin a shot.

    Differences closer together than SHOT_FRAMES are one cut, at the last of them; before the first cut of all, and as
    long as they don't end, they are none.
    """
    latest: int | None = None
    merging_from: int | None = None
    after_first = False
    for index, differs in frames:
        calm = index - (index if latest is None else latest) >= SHOT_FRAMES
        latest = index if differs or latest is None else latest
        if merging_from is not None:
            if calm and not differs and latest - merging_from >= SHOT_FRAMES:
                merging_from = None
                yield latest
        elif differs and calm:
            after_first = True
            yield index
        elif differs and after_first:
            merging_from = index


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
    before: Hsv | None = None
    for index, picture in pictures:
        yield index, _score(before, picture)
        before = picture


def _score(before: Hsv | None, picture: Hsv) -> Fraction:
    if before is None:
        return Fraction(0)
    if before.shape != picture.shape:
        return _ANOTHER_SIZE
    return Fraction(int(np.abs(picture - before).sum(dtype=np.int64)), picture.size)

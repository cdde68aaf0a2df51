"""How many images an extraction will give, how large they will be, and how long it will take. Pure.

The number of images follows from the specification and the length of the video; only key frames and scenes are guesses.
Sizes and times follow from what earlier extractions gave, per pixel; without any they come from constants that were
measured with `benchmarks.extract`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median
from typing import assert_never

from db.values.frame_spec import (
    AllFrames,
    EveryNth,
    Fps,
    FrameSpec,
    Image,
    ImageFormat,
    Interval,
    Keyframes,
    Sample,
    Scenes,
    Snap,
    Timestamps,
    Uniform,
)

KEY_FRAME_SECONDS = 2.0
SCENE_SECONDS = 5.0
BYTES_OF_A_ROW = 700
"""Of one image, beside its own bytes: two ZIP headers and its rows in the two manifests."""
# Bytes a pixel of detailed 1080p at the quality in the first column, without an earlier result.
_JPEG_BYTES = ((1, 0.02), (50, 0.08), (75, 0.12), (90, 0.2), (95, 0.3), (100, 0.65))
_WEBP_BYTES = ((1, 0.01), (50, 0.04), (75, 0.06), (90, 0.12), (95, 0.18), (100, 0.35))
_PNG_BYTES = 1.4
_DETAIL_EXPONENT = 0.3
# Pixels a second of one core.
_DECODED = {"h264": 550e6, "hevc": 430e6, "vp9": 400e6, "av1": 430e6}
_DECODED_OTHER = 300e6
_ENCODED = {ImageFormat.JPEG: 260e6, ImageFormat.PNG: 25e6, ImageFormat.WEBP: 15e6}
_START_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """width, height: as displayed. duration: seconds. fps_average: frames a second."""

    codec: str
    width: int
    height: int
    duration: float
    fps_average: float

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class EarlierResult:
    """A result of the same account. seconds: from its first claim to its end; None when it was not one task."""

    media: MediaFacts
    spec: FrameSpec
    frames: int
    size: int
    seconds: float | None
    is_same_video: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """frames: images. size: bytes of the archive. seconds: of one worker."""

    frames: int
    size: int
    seconds: float


def estimate(spec: FrameSpec, media: MediaFacts, earlier: Sequence[EarlierResult] = ()) -> Estimate:
    """Estimates an extraction. earlier: results that tell how large and how fast such images are, if there are any."""
    frames = estimated_frames(spec, media)
    image_bytes = _expected_bytes(spec.image, media) * _richness(spec.image, earlier)
    seconds = _seconds(spec, media, frames) * _slowness(earlier)
    return Estimate(frames, round(frames * (image_bytes + BYTES_OF_A_ROW)), round(seconds, 1))


def estimated_frames(spec: FrameSpec, media: MediaFacts) -> int:
    """The number of images. At least 1: an extraction that selects nothing fails."""
    length = _length(spec, media)
    in_range = max(1, round(length * media.fps_average))
    wanted = _wanted(spec.sample, length, in_range, media)
    if spec.snap is Snap.KEYFRAME:
        wanted = min(wanted, math.ceil(length / KEY_FRAME_SECONDS))
    return max(1, min(wanted, in_range, spec.max_frames or in_range))


def _length(spec: FrameSpec, media: MediaFacts) -> float:
    """Seconds of the video within the range."""
    end = media.duration if spec.range.end is None else min(media.duration, float(spec.range.end))
    return max(0.0, end - float(spec.range.start))


def _wanted(sample: Sample, length: float, in_range: int, media: MediaFacts) -> int:
    match sample:
        case Fps(fps):
            return _times(length, 1 / fps)
        case Interval(seconds):
            return _times(length, seconds)
        case Uniform(count):
            return count
        case Timestamps(at):
            return sum(0 <= time < media.duration for time in at)
        case EveryNth(n):
            return math.ceil(in_range / n)
        case Keyframes():
            return math.ceil(length / KEY_FRAME_SECONDS)
        case Scenes():
            return math.ceil(length / SCENE_SECONDS)
        case AllFrames():
            return in_range
        case _:
            assert_never(sample)


def _times(length: float, period: Fraction) -> int:
    # Durations are rounded numbers: what is a hair longer than a whole number of periods is that number.
    return math.ceil(length / float(period) - 1e-6)


def _scale(image: Image, media: MediaFacts) -> float:
    longer = max(media.width, media.height, 1)
    return 1.0 if image.max_side is None else min(1.0, image.max_side / longer)


def _pixels_of_an_image(image: Image, media: MediaFacts) -> float:
    return media.pixels * _scale(image, media) ** 2


def _expected_bytes(image: Image, media: MediaFacts) -> float:
    """Of one image, by the constants. A pixel of a picture that was made smaller has more detail."""
    detail: float = _scale(image, media) ** -_DETAIL_EXPONENT
    return _constant(image) * _pixels_of_an_image(image, media) * detail


def _richness(image: Image, earlier: Sequence[EarlierResult]) -> float:
    """How much larger than by the constants the images of earlier results of this format were."""
    same = [result for result in earlier if result.spec.image.format is image.format]
    nearest = [result for result in same if result.is_same_video] or same
    ratios = [
        max(1.0, result.size / max(1, result.frames) - BYTES_OF_A_ROW)
        / max(1.0, _expected_bytes(result.spec.image, result.media))
        for result in nearest
    ]
    return median(ratios) if ratios else 1.0


def _constant(image: Image) -> float:
    match image.format:
        case ImageFormat.PNG:
            return _PNG_BYTES
        case ImageFormat.JPEG:
            return _between(_JPEG_BYTES, image.quality)
        case ImageFormat.WEBP:
            return _between(_WEBP_BYTES, image.quality)
        case _:
            assert_never(image.format)


def _between(points: Sequence[tuple[int, float]], quality: int) -> float:
    """Linear between the two points around the quality."""
    for (low, at_low), (high, at_high) in itertools.pairwise(points):
        if quality <= high:
            return at_low + (at_high - at_low) * (quality - low) / (high - low)
    return points[-1][1]


def _seconds(spec: FrameSpec, media: MediaFacts, frames: int) -> float:
    length = _length(spec, media)
    in_range = max(1.0, length * media.fps_average)
    # An image costs half a group of pictures, unless the images are so dense that all is decoded.
    decoded = min(in_range, frames * KEY_FRAME_SECONDS * media.fps_average / 2)
    if isinstance(spec.sample, Keyframes) or spec.snap is Snap.KEYFRAME:
        decoded = frames
    if isinstance(spec.sample, Scenes):
        decoded = in_range
    decoding = decoded * media.pixels / _DECODED.get(media.codec, _DECODED_OTHER)
    encoding = frames * _pixels_of_an_image(spec.image, media) / _ENCODED[spec.image.format]
    return _START_SECONDS + decoding + encoding


def _slowness(earlier: Sequence[EarlierResult]) -> float:
    """How much longer than by the constants earlier extractions took on the workers that are there."""
    ratios = [
        result.seconds / _seconds(result.spec, result.media, result.frames)
        for result in earlier
        if result.seconds is not None
    ]
    return median(ratios) if ratios else 1.0

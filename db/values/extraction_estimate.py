"""How many images an extraction will give, how large they will be, and how long it will take. Pure.

The number of images follows from the specification and the duration of the video; for key frames and scenes, their
distance is assumed. Size and time come from constants, measured with `benchmarks.extract`, and are corrected by what
earlier extractions of the account gave.
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
"""The assumed distance of two key frames when it is not known, and the assumed duration of a scene."""
ARCHIVE_BYTES_PER_IMAGE = 700
"""What an image adds to the archive beside its own bytes: two ZIP headers and its rows in the two manifests."""
# Pairs of quality and bytes per pixel, for detailed 1080p.
_JPEG_BYTES_PER_PIXEL = ((1, 0.02), (50, 0.08), (75, 0.12), (90, 0.2), (95, 0.3), (100, 0.65))
_WEBP_BYTES_PER_PIXEL = ((1, 0.01), (50, 0.04), (75, 0.06), (90, 0.12), (95, 0.18), (100, 0.35))
_PNG_BYTES_PER_PIXEL = 1.4
_DETAIL_EXPONENT = 0.3
# Of one core.
_DECODED_PIXELS_PER_SECOND = {"h264": 645e6, "hevc": 580e6, "vp9": 420e6, "av1": 630e6}
_OTHER_DECODED_PIXELS_PER_SECOND = 300e6
_KEY_FRAME_PIXELS_PER_SECOND = 80e6
"""When only key frames are decoded. They have far more bits than the frames between them."""
_SCALED_PIXELS_PER_SECOND = 500e6
_COMPARED_PIXELS_PER_SECOND = 500e6
"""Pixels of decoded pictures: those that are scaled down for an image, and those that are compared to find scenes."""
_ENCODED_PIXELS_PER_SECOND = {ImageFormat.JPEG: 260e6, ImageFormat.PNG: 25e6, ImageFormat.WEBP: 15e6}
_START_SECONDS = 0.12
"""Reading the packets, planning and writing the files: what an extraction takes beside its pixels."""
MIN_WORK_SECONDS = 0.5
"""An earlier result that took less work tells nothing of the speed."""


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """width, height: as displayed. duration: seconds. fps_average: frames a second. key_frames: None if not known."""

    codec: str
    width: int
    height: int
    duration: float
    fps_average: float
    key_frames: int | None = None

    @property
    def key_frame_seconds(self) -> float:
        """The mean distance of two key frames."""
        return self.duration / self.key_frames if self.duration and self.key_frames else KEY_FRAME_SECONDS

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
    """frames: number of images. size: bytes of the archive. seconds: time that one worker takes."""

    frames: int
    size: int
    seconds: float


def estimate(spec: FrameSpec, media: MediaFacts, earlier: Sequence[EarlierResult] = ()) -> Estimate:
    """Estimates an extraction. earlier: results of the account, which correct size and time."""
    frames = estimate_frames(spec, media)
    image_bytes = _typical_image_bytes(spec.image, media) * _size_ratio(spec.image, earlier)
    seconds = _START_SECONDS + _work_seconds(spec, media, frames) * _time_ratio(earlier)
    return Estimate(frames, round(frames * (image_bytes + ARCHIVE_BYTES_PER_IMAGE)), round(seconds, 2))


def estimate_frames(spec: FrameSpec, media: MediaFacts) -> int:
    """Returns the number of images. At least 1: an extraction that selects nothing fails."""
    seconds_in_range = _range_seconds(spec, media)
    frames_in_range = max(1, round(seconds_in_range * media.fps_average))
    frames = _sampled_frames(spec.sample, seconds_in_range, frames_in_range, media)
    if spec.snap is Snap.KEYFRAME:
        frames = min(frames, _count_key_frames(seconds_in_range, media))
    return max(1, min(frames, frames_in_range, spec.max_frames or frames_in_range))


def _range_seconds(spec: FrameSpec, media: MediaFacts) -> float:
    """Returns how many seconds of the video the range contains."""
    end = media.duration if spec.range.end is None else min(media.duration, float(spec.range.end))
    return max(0.0, end - float(spec.range.start))


def _sampled_frames(sample: Sample, seconds_in_range: float, frames_in_range: int, media: MediaFacts) -> int:
    match sample:
        case Fps(fps):
            return _count_periods(seconds_in_range, 1 / fps)
        case Interval(seconds):
            return _count_periods(seconds_in_range, seconds)
        case Uniform(count):
            return count
        case Timestamps(at):
            return sum(0 <= time < media.duration for time in at)
        case EveryNth(n):
            return math.ceil(frames_in_range / n)
        case Keyframes():
            return _count_key_frames(seconds_in_range, media)
        case Scenes():
            return math.ceil(seconds_in_range / SCENE_SECONDS)
        case AllFrames():
            return frames_in_range
        case _:
            assert_never(sample)


def _count_key_frames(seconds_in_range: float, media: MediaFacts) -> int:
    return math.ceil(seconds_in_range / media.key_frame_seconds - 1e-6)


def _count_periods(seconds: float, period: Fraction) -> int:
    # Durations are rounded: slightly more than a whole number of periods counts as that number.
    return math.ceil(seconds / float(period) - 1e-6)


def _scale(image: Image, media: MediaFacts) -> float:
    longer_side = max(media.width, media.height, 1)
    return 1.0 if image.max_side is None else min(1.0, image.max_side / longer_side)


def _pixels_per_image(image: Image, media: MediaFacts) -> float:
    return media.pixels * _scale(image, media) ** 2


def _typical_image_bytes(image: Image, media: MediaFacts) -> float:
    """Returns the bytes of one image by the constants. A pixel has more detail in a picture that is scaled down."""
    detail: float = _scale(image, media) ** -_DETAIL_EXPONENT
    return _bytes_per_pixel(image) * _pixels_per_image(image, media) * detail


def _size_ratio(image: Image, earlier: Sequence[EarlierResult]) -> float:
    """Returns by which factor earlier images of this format were larger than by the constants; the median."""
    same_format = [result for result in earlier if result.spec.image.format is image.format]
    nearest = [result for result in same_format if result.is_same_video] or same_format
    ratios = [
        max(1.0, result.size / max(1, result.frames) - ARCHIVE_BYTES_PER_IMAGE)
        / max(1.0, _typical_image_bytes(result.spec.image, result.media))
        for result in nearest
    ]
    return median(ratios) if ratios else 1.0


def _bytes_per_pixel(image: Image) -> float:
    match image.format:
        case ImageFormat.PNG:
            return _PNG_BYTES_PER_PIXEL
        case ImageFormat.JPEG:
            return _interpolate(_JPEG_BYTES_PER_PIXEL, image.quality)
        case ImageFormat.WEBP:
            return _interpolate(_WEBP_BYTES_PER_PIXEL, image.quality)
        case _:
            assert_never(image.format)


def _interpolate(points: Sequence[tuple[int, float]], quality: int) -> float:
    """Interpolates linearly between the two points around the quality."""
    for (low, at_low), (high, at_high) in itertools.pairwise(points):
        if quality <= high:
            return at_low + (at_high - at_low) * (quality - low) / (high - low)
    return points[-1][1]


def _work_seconds(spec: FrameSpec, media: MediaFacts, frames: int) -> float:
    """Returns the seconds of one worker by the constants, without the start."""
    decoded = _decoded_frames(spec, media, frames) * media.pixels
    seconds = decoded / _decoded_pixels_per_second(spec, media)
    if isinstance(spec.sample, Scenes):
        seconds += decoded / _COMPARED_PIXELS_PER_SECOND
    if _scale(spec.image, media) < 1:
        seconds += frames * media.pixels / _SCALED_PIXELS_PER_SECOND
    return seconds + frames * _pixels_per_image(spec.image, media) / _ENCODED_PIXELS_PER_SECOND[spec.image.format]


def _decoded_pixels_per_second(spec: FrameSpec, media: MediaFacts) -> float:
    if _has_only_key_frames(spec):
        return _KEY_FRAME_PIXELS_PER_SECOND
    return _DECODED_PIXELS_PER_SECOND.get(media.codec, _OTHER_DECODED_PIXELS_PER_SECOND)


def _has_only_key_frames(spec: FrameSpec) -> bool:
    return isinstance(spec.sample, Keyframes) or spec.snap is Snap.KEYFRAME


def _decoded_frames(spec: FrameSpec, media: MediaFacts, frames: int) -> float:
    """Returns how many frames are decoded for `frames` images that are spread evenly over the range."""
    seconds_in_range = _range_seconds(spec, media)
    if _has_only_key_frames(spec):
        return frames
    if isinstance(spec.sample, Scenes):
        return max(1.0, seconds_in_range * media.fps_average)
    gop, distance = media.key_frame_seconds, seconds_in_range / max(1, frames)
    # A GOP is decoded up to its last image: on average half of it for one image, nearly all of it for many.
    seconds = frames * gop / 2 if distance > gop else seconds_in_range * (1 - distance / (2 * gop))
    return max(frames, seconds * media.fps_average)


def _time_ratio(earlier: Sequence[EarlierResult]) -> float:
    """Returns by which factor earlier extractions took longer than by the constants; the median."""
    ratios = [
        max(0.0, result.seconds - _START_SECONDS) / work
        for result in earlier
        if result.seconds is not None
        and (work := _work_seconds(result.spec, result.media, result.frames)) > MIN_WORK_SECONDS
    ]
    return median(ratios) if ratios else 1.0

"""The scenarios of the comparison: which frames of which clip, and how fast this engine must be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import assert_never

from benchmarks.extract.clips import FPS, Clip
from db.values.frame_spec import AllFrames, Fps, Keyframes, Uniform

Sample = Fps | AllFrames | Keyframes | Uniform
ONE_FPS = Fps(Fraction(1))


@dataclass(frozen=True, slots=True)
class Scenario:
    """min_speedup, target_speedup: ffmpeg's wall time divided by this engine's: the limit and the target. max_side: of
    the images, pixels."""

    name: str
    title: str
    clip: str
    sample: Sample
    min_speedup: float
    target_speedup: float
    max_side: int | None = None


SCENARIOS = (
    Scenario("fps_gop250", "1 fps, 1080p H.264, GOP 250", "1080p_gop250", ONE_FPS, 1.6, 2.0),
    Scenario("fps_gop48", "1 fps, 1080p H.264, GOP 48", "1080p_gop48", ONE_FPS, 2.0, 2.5),
    Scenario("all_gop48", "every frame, GOP 48", "1080p_gop48_short", AllFrames(), 2.0, 2.4),
    Scenario("keyframes_10min", "key frames, 10 min", "1080p_10min", Keyframes(), 1.8, 3.0),
    Scenario("uniform_10min", "20 uniform, 10 min", "1080p_10min", Uniform(20), 2.0, 4.0),
    Scenario("fps_hevc", "1 fps, HEVC 10-bit", "hevc_10bit", ONE_FPS, 2.1, 2.5),
    Scenario("fps_vp9", "1 fps, VP9", "vp9", ONE_FPS, 1.3, 1.8),
    Scenario("fps_av1", "1 fps, AV1", "av1", ONE_FPS, 1.5, 2.0),
    Scenario("fps_4k", "1 fps, 4K H.264", "4k_gop60", ONE_FPS, 1.3, 1.8),
    Scenario("thumbnails", "thumbnails, `max_side` 320, 1 fps", "1080p_gop250", ONE_FPS, 1.8, 3.0, 320),
)


def requested_frames(sample: Sample, clip: Clip) -> list[int]:
    """The frames of the clip that a sample selects, counted from 0; each once, in order."""
    match sample:
        case Fps(fps):
            return [floor(k / fps * FPS) for k in range(ceil(clip.seconds * fps))]
        case AllFrames():
            return list(range(clip.frames))
        case Keyframes():
            starts = range(0, clip.encoding.frames, clip.encoding.gop)
            return [turn * clip.encoding.frames + start for turn in range(clip.loops) for start in starts]
        case Uniform(count):
            return [floor(time * FPS) for time in middle_times(count, clip)]
        case _:
            assert_never(sample)


def middle_times(count: int, clip: Clip) -> list[Fraction]:
    """Seconds: the middle of each of `count` equal parts of the clip."""
    return [(i + Fraction(1, 2)) * clip.seconds / count for i in range(count)]


def image_size(scenario: Scenario, clip: Clip) -> tuple[int, int]:
    """Pixels (width, height) of its images."""
    width, height = clip.encoding.width, clip.encoding.height
    longer = scenario.max_side or max(width, height)
    share = min(Fraction(1), Fraction(longer, max(width, height)))
    return floor(width * share + Fraction(1, 2)), floor(height * share + Fraction(1, 2))

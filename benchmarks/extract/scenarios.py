"""The rows of the comparison: which frames of which clip, and how fast this engine has to be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import assert_never

from benchmarks.extract.clips import FPS, Clip
from db.values.frame_spec import AllFrames, Fps, Keyframes, Uniform

Sample = Fps | AllFrames | Keyframes | Uniform
EACH_SECOND = Fps(Fraction(1))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A row. floor, aim: ffmpeg's wall time divided by this engine's, at least and aimed at. max_side: in pixels."""

    name: str
    title: str
    clip: str
    sample: Sample
    floor: float
    aim: float
    max_side: int | None = None


SCENARIOS = (
    Scenario("fps_gop250", "1 fps, 1080p H.264, GOP 250", "1080p_gop250", EACH_SECOND, 1.6, 2.0),
    Scenario("fps_gop48", "1 fps, 1080p H.264, GOP 48", "1080p_gop48", EACH_SECOND, 2.0, 2.5),
    Scenario("all_gop48", "every frame, GOP 48", "1080p_gop48_short", AllFrames(), 2.0, 2.4),
    Scenario("keyframes_10min", "key frames, 10 min", "1080p_10min", Keyframes(), 1.8, 3.0),
    Scenario("uniform_10min", "20 uniform, 10 min", "1080p_10min", Uniform(20), 2.0, 4.0),
    Scenario("fps_hevc", "1 fps, HEVC 10-bit", "hevc_10bit", EACH_SECOND, 2.1, 2.5),
    Scenario("fps_vp9", "1 fps, VP9", "vp9", EACH_SECOND, 1.3, 1.8),
    Scenario("fps_av1", "1 fps, AV1", "av1", EACH_SECOND, 1.5, 2.0),
    Scenario("fps_4k", "1 fps, 4K H.264", "4k_gop60", EACH_SECOND, 1.3, 1.8),
    Scenario("thumbnails", "thumbnails, `max_side` 320, 1 fps", "1080p_gop250", EACH_SECOND, 1.8, 3.0, 320),
)


def frames_of(sample: Sample, clip: Clip) -> list[int]:
    """Which frames of the clip a sample asks for, counted from 0; each once, in order."""
    match sample:
        case Fps(fps):
            return [floor(k / fps * FPS) for k in range(ceil(clip.seconds * fps))]
        case AllFrames():
            return list(range(clip.frames))
        case Keyframes():
            starts = range(0, clip.film.frames, clip.film.gop)
            return [turn * clip.film.frames + start for turn in range(clip.loops) for start in starts]
        case Uniform(count):
            return [floor(time * FPS) for time in middles(count, clip)]
        case _:
            assert_never(sample)


def middles(count: int, clip: Clip) -> list[Fraction]:
    """Seconds: the middle of each of `count` equal parts of the clip."""
    return [(i + Fraction(1, 2)) * clip.seconds / count for i in range(count)]


def image_size(scenario: Scenario, clip: Clip) -> tuple[int, int]:
    """Pixels (width, height) of its images."""
    width, height = clip.film.width, clip.film.height
    longer = scenario.max_side or max(width, height)
    share = min(Fraction(1), Fraction(longer, max(width, height)))
    return floor(width * share + Fraction(1, 2)), floor(height * share + Fraction(1, 2))

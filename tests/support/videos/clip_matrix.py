"""Clips for every combination of codec, container and feature, and a smaller set that covers all pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path

from tests.support.videos.clips import ClipSpec, make_clip
from tests.support.videos.remux import add_cover, join_video_streams, multiply_claimed_duration

CODECS = {
    "h264": ClipSpec(),
    "hevc": ClipSpec(codec="libx265"),
    "vp8": ClipSpec(codec="libvpx"),
    "vp9": ClipSpec(codec="libvpx-vp9"),
    "av1": ClipSpec(codec="libsvtav1"),
    "mpeg4": ClipSpec(codec="mpeg4"),
    "mpeg2": ClipSpec(codec="mpeg2video"),
    "wmv2": ClipSpec(codec="wmv2"),
    "flv1": ClipSpec(codec="flv"),
}
CONTAINER_CODECS = {
    "mp4": {"h264", "hevc", "vp9", "av1", "mpeg4", "mpeg2"},
    "mov": {"h264", "hevc", "mpeg4", "mpeg2"},
    "mkv": {"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2"},
    "webm": {"vp8", "vp9", "av1"},
    "avi": {"h264", "mpeg4", "mpeg2", "vp8"},
    "ts": {"h264", "hevc", "mpeg4", "mpeg2"},
    "m2ts": {"h264", "hevc", "mpeg2"},
    "mpg": {"mpeg2"},
    "flv": {"h264", "flv1"},
    "wmv": {"wmv2"},
}
"""The codecs that each container is used with."""

_VFR_DURATIONS = (1, 4, 2, 9, 3, 1, 7, 2, 12, 3, 3, 3, 3, 3, 3)
_REORDERING = {"h264", "hevc", "mpeg4", "mpeg2"}
_WITH_TIMESTAMPS = {"mp4", "mov", "mkv", "webm", "ts", "m2ts", "flv"}
_ISO_BMFF = {"mp4", "mov"}
_REMUXABLE = {"h264", "hevc", "vp8", "vp9", "mpeg4", "mpeg2"}
_SHORT = ClipSpec(width=96, height=64, frames=26, fps=Fraction(25), gop=8)


@dataclass(frozen=True, slots=True)
class Feature:
    """changes: fields of ClipSpec. codecs, containers: those that can have the feature; None: all.

    remux_step: what `remux` does to a plain clip; empty: nothing.
    """

    changes: dict[str, object]
    codecs: set[str] | None = None
    containers: set[str] | None = None
    remux_step: str = ""


FEATURES: dict[str, Feature] = {
    "plain": Feature({}),
    "b_frames": Feature({"b_frames": 2}, _REORDERING),
    "open_gop": Feature({"b_frames": 2, "open_gop": True}, {"h264", "hevc"}),
    "vfr": Feature(
        {"vfr": _VFR_DURATIONS, "time_base": Fraction(1, 100)}, {"h264", "hevc", "vp8", "vp9"}, _WITH_TIMESTAMPS
    ),
    "vfr_b_frames": Feature(
        {"vfr": _VFR_DURATIONS, "time_base": Fraction(1, 100), "b_frames": 2},
        {"h264", "hevc"},
        _WITH_TIMESTAMPS - {"flv"},
    ),
    "ntsc": Feature({"fps": Fraction(30_000, 1001)}, None, _WITH_TIMESTAMPS | {"avi", "mpg"}),
    "edit_list": Feature({"edit_list": 5}, None, _ISO_BMFF),
    "edit_list_b_frames": Feature({"edit_list": 11, "b_frames": 2}, _REORDERING, _ISO_BMFF),
    "edit_list_both_ends": Feature({"edit_list": 5, "edit_end": 4}, None, _ISO_BMFF),
    "rotated_90": Feature({"rotation": 90}, None, _ISO_BMFF | {"mkv"}),
    "rotated_180": Feature({"rotation": 180}, None, _ISO_BMFF | {"mkv"}),
    "rotated_270": Feature({"rotation": 270}, None, _ISO_BMFF | {"mkv"}),
    "odd_size": Feature({"width": 95, "height": 67}, {"vp8", "vp9", "mpeg4", "mpeg2", "flv1"}),
    "odd_444": Feature({"width": 95, "height": 67, "pix_fmt": "yuv444p"}, {"h264", "hevc", "vp9"}),
    "444": Feature({"pix_fmt": "yuv444p"}, {"h264", "hevc", "vp9"}),
    "422": Feature({"pix_fmt": "yuv422p"}, {"h264", "hevc", "mpeg2"}),
    "10_bit": Feature({"pix_fmt": "yuv420p10le"}, {"h264", "hevc", "av1"}),
    "interlaced": Feature({"options": (("flags", "+ildct+ilme"),)}, {"h264", "mpeg2", "mpeg4"}),
    "offset": Feature({"start_offset": Fraction(2)}, None, _WITH_TIMESTAMPS | {"mpg"}),
    "negative": Feature(
        {"start_offset": Fraction(-1, 5), "muxer": (("avoid_negative_ts", "disabled"),)}, None, {"mkv", "webm", "ts"}
    ),
    "clock_wraps": Feature(
        {"start_offset": Fraction(95_443), "muxer": (("mpegts_copyts", "1"),)}, None, {"ts", "m2ts"}
    ),
    "one_frame": Feature({"frames": 1}),
    "two_frames": Feature({"frames": 2}),
    "one_gop": Feature({"gop": 1000}),
    "all_intra": Feature({"gop": 1}),
    "sar": Feature({"width": 72, "sar": Fraction(4, 3)}, {"h264", "hevc", "mpeg4"}, _ISO_BMFF | {"mkv", "ts"}),
    "sound": Feature({"audio": True}, None, {"mp4", "mov", "mkv", "webm", "ts", "m2ts", "mpg", "avi", "flv"}),
    "fragmented": Feature({"fragmented": True}, None, {"mp4"}),
    "index_in_front": Feature({"faststart": True}, None, _ISO_BMFF),
    "cover": Feature({}, _REMUXABLE, {"mp4", "mkv"}, "cover"),
    "another_smaller": Feature({}, _REMUXABLE, {"mkv", "ts"}, "another"),
    "another_default": Feature({}, _REMUXABLE, {"mkv", "mp4", "mov"}, "default"),
    "lying_duration": Feature({}, None, {"mp4", "mov", "mkv", "avi", "flv"}, "lie"),
    "long": Feature(
        {"width": 64, "height": 48, "frames": 10_000, "gop": 250, "fps": Fraction(50)}, {"h264"}, {"mp4", "ts"}
    ),
}
"""Features of a video, by name."""


@dataclass(frozen=True, slots=True, order=True)
class ClipKind:
    codec: str
    container: str
    feature: str

    def __str__(self) -> str:
        return f"{self.codec}-{self.container}-{self.feature}"

    @property
    def spec(self) -> ClipSpec:
        changes = FEATURES[self.feature].changes
        clip = replace(CODECS[self.codec], suffix=f".{self.container}")
        defaults = {name: getattr(_SHORT, name) for name in ("width", "height", "frames", "fps", "gop")}
        return replace(clip, **(defaults | changes))

    def pairs(self) -> set[tuple[str, str]]:
        return set(combinations((self.codec, self.container, self.feature), 2))

    def make(self, folder: Path) -> tuple[Path, ClipSpec]:
        """Makes the clip in this folder. Returns its path and the spec of the video stream that must be read."""
        path, spec = folder / f"{self}.{self.container}", self.spec
        remux_step = FEATURES[self.feature].remux_step
        plain = folder / f"plain.{self.container}" if remux_step else path
        make_clip(plain, spec)
        if remux_step in {"another", "default"}:
            small = folder / f"small.{self.container}"
            make_clip(small, replace(spec, width=64, height=48, frames=20))
            join_video_streams(plain, small, path, default=1 if remux_step == "default" else None)
        elif remux_step:
            {"cover": add_cover, "lie": multiply_claimed_duration}[remux_step](plain, path)
        return path, spec


def all_kinds() -> list[ClipKind]:
    """Every valid combination of codec, container and feature."""
    return [
        ClipKind(codec, container, name)
        for container, codecs in CONTAINER_CODECS.items()
        for codec in CODECS
        if codec in codecs
        for name, feature in FEATURES.items()
        if codec in (feature.codecs or {codec}) and container in (feature.containers or {container})
    ]


def covering_kinds(kinds: Iterable[ClipKind]) -> Iterator[ClipKind]:
    """A subset that contains every possible pair of codec, container and feature; chosen greedily."""
    remaining = list(kinds)
    uncovered = set().union(*(kind.pairs() for kind in remaining))
    while uncovered:
        best = max(remaining, key=lambda kind: len(kind.pairs() & uncovered))
        uncovered -= best.pairs()
        remaining.remove(best)
        yield best

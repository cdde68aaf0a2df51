"""A slow reference for frame selection, written from the contract's definitions. It shares no code with the engine.

A plain sequential decode gives the displayed frames. The definitions are applied to them with exact fractions. Where
reference and engine differ, one of them is wrong.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, pairwise
from math import floor
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from av.video.stream import VideoStream
from PIL import Image

from tests.support.videos.frame_number_pattern import Rgb, read_number

HALF_MILLISECOND = Fraction(1, 2000)


@dataclass(frozen=True, slots=True)
class ReferenceFrame:
    """One displayed frame. number: read from its pixels, None when unreadable. time: seconds from the first one's."""

    number: int | None
    pts: int
    time: Fraction
    key: bool


@dataclass(frozen=True, slots=True)
class ReferenceSelection:
    """indexes: of the selected frames, ascending. outside: how many requested times lie outside the video.

    limited: whether `max_frames` left frames out.
    """

    indexes: list[int]
    outside: int = 0
    limited: bool = False


@dataclass(frozen=True, slots=True)
class ReferenceVideo:
    """end: seconds, when the last frame is no longer shown. width, height: pixels as displayed."""

    frames: list[ReferenceFrame]
    end: Fraction
    time_base: Fraction
    width: int
    height: int

    def select(self, spec: dict[str, Any]) -> ReferenceSelection:
        """Selects frames by the contract's definitions. spec: a JSON object whose numbers are strings or integers."""
        bounds, sample = spec.get("range", {}), spec["sample"]
        start = Fraction(bounds.get("start", 0))
        end = self.end if bounds.get("end") is None else Fraction(bounds["end"])
        inside = [index for index, frame in enumerate(self.frames) if start <= frame.time < end]
        selected, outside = self._by_mode(sample, start, end, inside)
        if spec.get("snap") == "keyframe":
            selected = self._snap_to_keys(selected, inside)
        limit = spec.get("max_frames")
        indexes = sorted(set(selected))
        return ReferenceSelection(indexes[:limit], outside, limit is not None and len(indexes) > limit)

    def _by_mode(
        self, sample: dict[str, Any], start: Fraction, end: Fraction, inside: list[int]
    ) -> tuple[list[int], int]:
        match sample["mode"]:
            case "all":
                return inside, 0
            case "keyframes":
                return [index for index in inside if self.frames[index].key], 0
            case "every_nth":
                return inside[:: sample["n"]], 0
            case "fps":
                return self._displayed_at(_times_at_steps(start, 1 / Fraction(sample["fps"]), min(end, self.end)))[0], 0
            case "interval":
                return self._displayed_at(_times_at_steps(start, Fraction(sample["seconds"]), min(end, self.end)))[0], 0
            case "uniform":
                step = (end - start) / sample["count"]
                return self._displayed_at(
                    start + (i + Fraction(1, 2)) * step for i in range(sample["count"] if step > 0 else 0)
                )
            case "timestamps":
                return self._displayed_at(Fraction(time) for time in set(sample["at"]))
            case mode:
                raise AssertionError(mode)

    def _displayed_at(self, times: Iterator[Fraction]) -> tuple[list[int], int]:
        """The displayed frames with the greatest time ≤ time + half a tick, but at most half a millisecond.

        A video shows nothing before its first frame and after its last.
        """
        # Times of frames are whole ticks: integers are compared many times faster than fractions.
        starts, indexes, outside = [int(frame.time / self.time_base) for frame in self.frames], [], 0
        tolerance = min(self.time_base / 2, HALF_MILLISECOND)
        for time in times:
            started = bisect_right(starts, floor((time + tolerance) / self.time_base)) if time < self.end else 0
            if started:
                indexes.append(started - 1)
            else:
                outside += 1
        return indexes, outside

    def _snap_to_keys(self, selected: list[int], inside: list[int]) -> list[int]:
        keys = [index for index in inside if self.frames[index].key]
        times = [frame.time for frame in self.frames]
        return [min(keys, key=lambda key: (abs(times[key] - times[index]), key)) for index in set(selected) if keys]


def _times_at_steps(start: Fraction, step: Fraction, end: Fraction) -> Iterator[Fraction]:
    for k in count():
        time = start + k * step
        if time >= end:
            return
        yield time


def decode_reference(path: Path, *, counts_pictures: bool = False) -> ReferenceVideo:
    """Decodes all frames of the video stream to be shown: the one marked default, otherwise the largest.

    counts_pictures: the container stores when the k-th picture is shown, not which packet contains it (AVI).
    """
    with av.open(str(path)) as container:
        stream = _video_stream(list(container.streams.video))
        packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
        durations = {packet.pts: packet.duration or 0 for packet in packets if packet.pts is not None}
        keys = {packet.pts for packet in packets if packet.is_keyframe}
        ticks = sorted(packet.dts for packet in packets if packet.dts is not None)
        base, aspect = stream.time_base, stream.sample_aspect_ratio or Fraction(1)
        index = stream.index
    assert base is not None
    pictures = _pictures(path, index, aspect)
    pts = ticks if counts_pictures else _fill_missing_times([time for time, _, _ in pictures])
    assert len(pts) == len(pictures)
    assert all(time is not None for time in pts)
    frames = [
        ReferenceFrame(
            number,
            time,
            (time - pts[0]) * base,
            decoded_key if counts_pictures or decoded_pts is None else time in keys,
        )
        for time, (decoded_pts, decoded_key, (number, _, _)) in zip(pts, pictures, strict=True)
    ]
    stored_duration = 0 if counts_pictures else durations.get(pts[-1], 0)
    intervals = [b - a for a, b in pairwise(pts)]
    last_duration = stored_duration or (
        Fraction(median([Fraction(gap) for gap in intervals])) if intervals else Fraction(1)
    )
    _, _, (_, width, height) = pictures[0]
    return ReferenceVideo(frames, frames[-1].time + last_duration * base, base, width, height)


def _fill_missing_times(times: list[int | None]) -> list[Any]:
    """Fills in times before zero that a demuxer leaves out, with the interval of the first times that it gives."""
    missing = times.count(None)
    first, second = [*times, None, None][missing : missing + 2]
    gap = 0 if first is None or second is None else second - first
    return [None if first is None else first - k * gap for k in range(missing, 0, -1)] + times[missing:]


def _video_stream(streams: list[VideoStream]) -> VideoStream:
    videos = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    return max(
        videos, key=lambda stream: (bool(stream.disposition & Disposition.default), stream.width * stream.height)
    )


Picture = tuple[Any, bool, tuple[int | None, int, int]]


def _pictures(path: Path, index: int, aspect: Fraction) -> list[Picture]:
    """Presentation time, key, and (number, width, height) of every frame that a plain decode gives, in its order."""
    with av.open(str(path)) as container:
        stream = container.streams[index]
        assert isinstance(stream, VideoStream)
        stream.thread_type = "NONE"
        frames = (frame for packet in container.demux(stream) for frame in packet.decode())
        return [(frame.pts, frame.key_frame, _read_frame(frame, aspect)) for frame in frames]


def _read_frame(frame: av.VideoFrame, aspect: Fraction) -> tuple[int | None, int, int]:
    """The number, width and height of a frame as a player displays it."""
    image = Image.fromarray(frame.to_ndarray(format="rgb24", threads=1))
    wide = image.resize((int(frame.width * aspect + Fraction(1, 2)), frame.height)) if aspect != 1 else image
    shown: Rgb = np.rot90(np.asarray(wide), frame.rotation // 90)
    return read_number(shown), shown.shape[1], shown.shape[0]

"""Which frames a specification names: the plan. Pure, and exact: no float decides which frame it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby, pairwise
from typing import assert_never

import numpy as np

from actors.extraction_types import MAX_SEGMENTS, ResultWarning
from actors.plan.frame_table import FrameTable
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import (
    AllFrames,
    EveryNth,
    Fps,
    FrameSpec,
    Interval,
    Keyframes,
    Scenes,
    Snap,
    Timestamps,
    Uniform,
)
from db.values.segment import Segment

TOLERANCE_SECONDS = Fraction(1, 2000)
"""A frame counts as on screen up to half a tick early, but never earlier than this."""

SEGMENT_SHARE = Fraction(2, 5)
"""Of the time from which on work is shared out, what a segment should take: of five minutes, two."""


@dataclass(frozen=True, slots=True)
class Target:
    """A frame that is wanted. index: among the displayed frames, from 0. pts: ticks."""

    index: int
    pts: int
    key: bool


@dataclass(frozen=True, slots=True)
class GopTargets:
    """Targets, ascending, that are decoded from one key frame.

    start: the key frame's presentation time in ticks; None when decoding has to begin with the file.
    """

    start: int | None
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """gops: by their key frames, in time order. frames: targets in all of them."""

    gops: tuple[GopTargets, ...]
    frames: int
    warnings: tuple[ResultWarning, ...]


def plan(table: FrameTable, spec: FrameSpec, *, limit: int = 1_000_000, shots: Sequence[int] = ()) -> Plan:
    """Chooses the frames that `spec` names. shots: the first frames of the shots in the range, for the mode scenes.

    Raises CatalogueError `empty_selection`, or `too_many_frames` (more than `limit`).
    """
    indexes, outside = _select(table, spec, shots)
    if spec.snap is Snap.KEYFRAME:
        indexes = _snap(table, in_range(table, spec), indexes)
    if not indexes:
        raise CatalogueError("empty_selection", f"The video's displayed frames end at {float(table.end):.3f} s.")
    warnings = []
    if outside:
        warnings.append(ResultWarning("times_outside_video", f"{outside} of the times are outside the video."))
    if spec.max_frames is not None and len(indexes) > spec.max_frames:
        detail = f"The first {spec.max_frames} of {len(indexes)} selected frames are given."
        warnings.append(ResultWarning("max_frames_reached", detail))
        indexes = indexes[: spec.max_frames]
    if len(indexes) > limit:
        raise CatalogueError("too_many_frames", f"{len(indexes)} frames are selected; at most {limit} are given.")
    return Plan(gop_targets(table, indexes), len(indexes), tuple(warnings))


def gop_targets(table: FrameTable, indexes: Iterable[int]) -> tuple[GopTargets, ...]:
    """Groups frames, ascending, by the key frame that each is decoded from.

    A picture that is shown before its key frame but coded after it needs the key frame before that one: so the one
    meant is the last that is *shown* at or before the picture.
    """
    keys = np.flatnonzero(table.keys)

    def key_of(target: Target) -> int:
        return int(np.searchsorted(keys, target.index, side="right")) - 1

    return tuple(
        GopTargets(int(table.pts[keys[key]]) if key >= 0 else None, tuple(group))
        for key, group in groupby(_targets(table, indexes), key_of)
    )


def to_decode(table: FrameTable, gops: Sequence[GopTargets]) -> int:
    """How many frames there are from their key frames to their last targets."""
    return sum(
        gop.targets[-1].index + 1 - (0 if gop.start is None else (table.index_of(gop.start) or 0)) for gop in gops
    )


def segment_count(seconds: float, longest: float) -> int:
    """Into how many segments work of so many seconds is divided when one claim may last `longest`; 1: not at all."""
    if seconds <= longest:
        return 1
    return min(MAX_SEGMENTS, max(2, math.ceil(seconds / (longest * float(SEGMENT_SHARE)))))


def split_plan(table: FrameTable, gops: Sequence[GopTargets], count: int) -> tuple[Segment, ...]:
    """Cuts a plan at key frames into at most `count` segments with about as many frames to decode each."""
    costs = np.array([to_decode(table, [gop]) for gop in gops], np.int64)
    stops = np.cumsum([len(gop.targets) for gop in gops])
    done = np.cumsum(costs)
    shares = done[-1] * np.arange(1, count) / count
    cuts = np.unique(np.searchsorted(done, shares) + 1)
    inner = cuts[cuts < len(gops)].tolist()
    return tuple(
        Segment(number, int(stops[first - 1]) if first else 0, int(stops[stop - 1]), int(costs[first:stop].sum()))
        for number, (first, stop) in enumerate(pairwise([0, *inner, len(gops)]))
    )


def _targets(table: FrameTable, indexes: Iterable[int]) -> Iterator[Target]:
    return (Target(index, int(table.pts[index]), bool(table.keys[index])) for index in indexes)


def _select(table: FrameTable, spec: FrameSpec, shots: Sequence[int]) -> tuple[Sequence[int], int]:
    """Indexes, ascending and distinct, and how many of the times asked for are outside the video."""
    sample = spec.sample
    match sample:
        case Fps(fps):
            return _periodic(table, spec, 1 / fps), 0
        case Interval(seconds):
            return _periodic(table, spec, seconds), 0
        case Uniform(count):
            return _uniform(table, spec, count)
        case Timestamps(at):
            return _at(table, at)
        case EveryNth(n):
            return in_range(table, spec)[::n], 0
        case Keyframes():
            frames = in_range(table, spec)
            return (np.flatnonzero(table.keys[frames.start : frames.stop]) + frames.start).tolist(), 0
        case AllFrames():
            return in_range(table, spec), 0
        case Scenes():
            return shots, 0
        case _:
            assert_never(sample)


def in_range(table: FrameTable, spec: FrameSpec) -> range:
    """The frames in the specification's range."""
    return table.within(spec.range.start, table.end if spec.range.end is None else spec.range.end)


def _periodic(table: FrameTable, spec: FrameSpec, step: Fraction) -> list[int]:
    """After its end a video shows nothing, wherever the range ends."""
    end = table.end if spec.range.end is None else min(spec.range.end, table.end)
    return _grid(table, spec.range.start, step, _steps_before(end - spec.range.start, step))


def _uniform(table: FrameTable, spec: FrameSpec, count: int) -> tuple[list[int], int]:
    end = table.end if spec.range.end is None else spec.range.end
    if end <= spec.range.start:
        return [], 0
    step = (end - spec.range.start) / count
    first = spec.range.start + step / 2
    inside = min(count, _steps_before(table.end - first, step))
    return _grid(table, first, step, inside), count - inside


def _steps_before(length: Fraction, step: Fraction) -> int:
    """How many k = 0, 1, … have k·step < length."""
    return max(0, -(-length // step))


def _grid(table: FrameTable, first: Fraction, step: Fraction, count: int) -> list[int]:
    """The frames on screen at first + k·step, k = 0 … count − 1, in at most as many steps as there are frames.

    In units of 1/scale ticks every time is a whole number: time k + tolerance is origin + k·stride.
    """
    origin_ticks, stride_ticks = first / table.time_base + _tolerance(table), step / table.time_base
    scale = origin_ticks.denominator * stride_ticks.denominator
    origin, stride = int(origin_ticks * scale), int(stride_ticks * scale)
    ticks, indexes, k = table.ticks, [], 0
    while k < count:
        index = _on_screen(ticks, (origin + k * stride) // scale)
        indexes.append(index)
        if index + 1 == len(ticks):
            break
        k = max(k + 1, -((origin - int(ticks[index + 1]) * scale) // stride))
    return indexes


def _at(table: FrameTable, times: Sequence[Fraction]) -> tuple[list[int], int]:
    tolerance, ticks, end = _tolerance(table), table.ticks, table.end
    latest = [int((time / table.time_base + tolerance) // 1) for time in times if time < end]
    inside = [_on_screen(ticks, tick) for tick in latest if tick >= 0]
    return sorted(set(inside)), len(times) - len(inside)


def _tolerance(table: FrameTable) -> Fraction:
    """Ticks."""
    return min(Fraction(1, 2), TOLERANCE_SECONDS / table.time_base)


def _on_screen(ticks: np.ndarray[tuple[int], np.dtype[np.int64]], latest: int) -> int:
    """The last frame that begins at `latest` or before."""
    return int(np.searchsorted(ticks, latest, side="right")) - 1


def _snap(table: FrameTable, frames: range, indexes: Sequence[int]) -> list[int]:
    """The key frames in `frames` nearest to each frame, the earlier of two, merged."""
    keys = np.flatnonzero(table.keys[frames.start : frames.stop]) + frames.start
    if not len(keys):
        return []
    wanted = np.asarray(indexes, np.int64)
    after = np.clip(np.searchsorted(keys, wanted), 0, len(keys) - 1)
    before = np.maximum(after - 1, 0)
    nearer_before = np.abs(table.pts[wanted] - table.pts[keys[before]]) <= np.abs(
        table.pts[keys[after]] - table.pts[wanted]
    )
    found: list[int] = np.unique(np.where(nearer_before, keys[before], keys[after])).tolist()
    return found

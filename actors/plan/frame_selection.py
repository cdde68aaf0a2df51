"""Selects the frames that a specification names. Pure and exact: no floating-point number decides about a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import assert_never

import numpy as np

from actors.extraction_types import ResultWarning
from actors.plan.frame_table import FrameTable, Ticks
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

TOLERANCE_SECONDS = Fraction(1, 2000)
"""A frame counts as on screen up to half a tick early, and by at most this much."""


@dataclass(frozen=True, slots=True)
class Target:
    """A frame to be extracted. index: among the displayed frames, from 0. pts: ticks. key: it is a key frame."""

    index: int
    pts: int
    key: bool


@dataclass(frozen=True, slots=True)
class GopTargets:
    """Targets, ascending, that are decoded from one key frame.

    key_pts: the key frame's presentation time in ticks; None when decoding starts at the beginning of the file.
    """

    key_pts: int | None
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """gops: the targets by their key frames, in time order. frames: number of targets."""

    gops: tuple[GopTargets, ...]
    frames: int
    warnings: tuple[ResultWarning, ...]


def make_plan(
    table: FrameTable, spec: FrameSpec, *, max_frames: int = 1_000_000, scene_starts: Sequence[int] = ()
) -> Plan:
    """Selects the frames that `spec` names. scene_starts: the first frame of each scene, for the mode `scenes`.

    Raises CatalogueError `empty_selection`, or `too_many_frames` (more than `max_frames`).
    """
    indexes, outside = _select(table, spec, scene_starts)
    if spec.snap is Snap.KEYFRAME:
        indexes = _snap_to_key_frames(table, frames_in_range(table, spec), indexes)
    if not indexes:
        raise CatalogueError("empty_selection", f"The video's displayed frames end at {float(table.end):.3f} s.")
    warnings = []
    if outside:
        warnings.append(ResultWarning("times_outside_video", f"{outside} of the times are outside the video."))
    if spec.max_frames is not None and len(indexes) > spec.max_frames:
        detail = f"The first {spec.max_frames} of {len(indexes)} selected frames are given."
        warnings.append(ResultWarning("max_frames_reached", detail))
        indexes = indexes[: spec.max_frames]
    if len(indexes) > max_frames:
        raise CatalogueError("too_many_frames", f"{len(indexes)} frames are selected; at most {max_frames} are given.")
    return Plan(group_by_gop(table, indexes), len(indexes), tuple(warnings))


def group_by_gop(table: FrameTable, indexes: Iterable[int]) -> tuple[GopTargets, ...]:
    """Groups frames, ascending, by the key frame that each is decoded from.

    That key frame is the last one that is *shown* at or before the frame. A leading picture is coded after its key
    frame and shown before it, and so needs the key frame before that one.
    """
    keys = np.flatnonzero(table.is_key)

    def key_number(target: Target) -> int:
        return int(np.searchsorted(keys, target.index, side="right")) - 1

    return tuple(
        GopTargets(int(table.pts[keys[number]]) if number >= 0 else None, tuple(targets))
        for number, targets in groupby(_targets(table, indexes), key_number)
    )


def count_frames_to_decode(table: FrameTable, gops: Sequence[GopTargets]) -> int:
    """The number of frames from each key frame to the last target that is decoded from it."""
    return sum(
        gop.targets[-1].index + 1 - (0 if gop.key_pts is None else (table.index_of(gop.key_pts) or 0)) for gop in gops
    )


def frames_in_range(table: FrameTable, spec: FrameSpec) -> range:
    """The frames in the specification's range."""
    return table.frames_between(spec.range.start, table.end if spec.range.end is None else spec.range.end)


def _targets(table: FrameTable, indexes: Iterable[int]) -> Iterator[Target]:
    return (Target(index, int(table.pts[index]), bool(table.is_key[index])) for index in indexes)


def _select(table: FrameTable, spec: FrameSpec, scene_starts: Sequence[int]) -> tuple[Sequence[int], int]:
    """Indexes, ascending and distinct, and how many of the requested times are outside the video."""
    sample = spec.sample
    match sample:
        case Fps(fps):
            return _select_periodic(table, spec, 1 / fps), 0
        case Interval(seconds):
            return _select_periodic(table, spec, seconds), 0
        case Uniform(count):
            return _select_uniform(table, spec, count)
        case Timestamps(at):
            return _select_at_times(table, at)
        case EveryNth(n):
            return frames_in_range(table, spec)[::n], 0
        case Keyframes():
            frames = frames_in_range(table, spec)
            return (np.flatnonzero(table.is_key[frames.start : frames.stop]) + frames.start).tolist(), 0
        case AllFrames():
            return frames_in_range(table, spec), 0
        case Scenes():
            return scene_starts, 0
        case _:
            assert_never(sample)


def _select_periodic(table: FrameTable, spec: FrameSpec, step: Fraction) -> list[int]:
    """Stops at the end of the video: after it nothing is on screen, wherever the range ends."""
    end = table.end if spec.range.end is None else min(spec.range.end, table.end)
    return _select_on_grid(table, spec.range.start, step, _count_steps_before(end - spec.range.start, step))


def _select_uniform(table: FrameTable, spec: FrameSpec, count: int) -> tuple[list[int], int]:
    end = table.end if spec.range.end is None else spec.range.end
    if end <= spec.range.start:
        return [], 0
    step = (end - spec.range.start) / count
    first = spec.range.start + step / 2
    inside = min(count, _count_steps_before(table.end - first, step))
    return _select_on_grid(table, first, step, inside), count - inside


def _count_steps_before(length: Fraction, step: Fraction) -> int:
    """How many k = 0, 1, … have k·step < length."""
    return max(0, -(-length // step))


def _select_on_grid(table: FrameTable, first: Fraction, step: Fraction, count: int) -> list[int]:
    """The frames on screen at first + k·step, k = 0 … count − 1, in at most as many steps as there are frames.

    In units of 1/scale ticks every time is a whole number: time k + tolerance is origin + k·stride.
    """
    origin_ticks, stride_ticks = first / table.time_base + _tolerance_ticks(table), step / table.time_base
    scale = origin_ticks.denominator * stride_ticks.denominator
    origin, stride = int(origin_ticks * scale), int(stride_ticks * scale)
    ticks, indexes, k = table.ticks, [], 0
    while k < count:
        index = _frame_on_screen(ticks, (origin + k * stride) // scale)
        indexes.append(index)
        if index + 1 == len(ticks):
            break
        k = max(k + 1, -((origin - int(ticks[index + 1]) * scale) // stride))
    return indexes


def _select_at_times(table: FrameTable, times: Sequence[Fraction]) -> tuple[list[int], int]:
    tolerance, ticks, end = _tolerance_ticks(table), table.ticks, table.end
    latest_starts = [int((time / table.time_base + tolerance) // 1) for time in times if time < end]
    inside = [_frame_on_screen(ticks, latest_start) for latest_start in latest_starts if latest_start >= 0]
    return sorted(set(inside)), len(times) - len(inside)


def _tolerance_ticks(table: FrameTable) -> Fraction:
    return min(Fraction(1, 2), TOLERANCE_SECONDS / table.time_base)


def _frame_on_screen(ticks: Ticks, latest_start: int) -> int:
    """The last frame that starts at `latest_start` or before."""
    return int(np.searchsorted(ticks, latest_start, side="right")) - 1


def _snap_to_key_frames(table: FrameTable, frames: range, indexes: Sequence[int]) -> list[int]:
    """The key frame in `frames` nearest to each frame, without duplicates. Of two equally near, the earlier one."""
    keys = np.flatnonzero(table.is_key[frames.start : frames.stop]) + frames.start
    if not len(keys):
        return []
    selected = np.asarray(indexes, np.int64)
    after = np.clip(np.searchsorted(keys, selected), 0, len(keys) - 1)
    before = np.maximum(after - 1, 0)
    is_before_nearer = np.abs(table.pts[selected] - table.pts[keys[before]]) <= np.abs(
        table.pts[keys[after]] - table.pts[selected]
    )
    snapped: list[int] = np.unique(np.where(is_before_nearer, keys[before], keys[after])).tolist()
    return snapped

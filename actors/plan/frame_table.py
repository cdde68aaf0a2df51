"""The frame table: which frames a video displays and when, as exact numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Ticks = NDArray[np.int64]
NO_PTS = -(2**63)
"""AV_NOPTS_VALUE; earlier than every presentation time, in ticks."""
MAX_PTS = 2**62
"""Later than every presentation time, in ticks."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameTable:
    """The displayed frames in presentation order. Each array has one entry per frame.

    time_base: seconds of one tick. pts: presentation times, ticks, strictly ascending, at least one. is_key: which
    frames are key frames. decode_order: place in decoding order, counted over all packets. last_duration: ticks that
    the last frame is shown, 0 when unknown. match_by_index: the container's times don't belong to its packets; so a
    decoded frame is found in the table by its number from the beginning and not by its time.
    """

    time_base: Fraction
    pts: Ticks
    is_key: NDArray[np.bool_]
    decode_order: Ticks
    last_duration: int = 0
    match_by_index: bool = False

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def ticks(self) -> Ticks:
        """Presentation times in ticks from the first displayed frame."""
        ticks: Ticks = self.pts - self.pts[0]
        return ticks

    @property
    def end(self) -> Fraction:
        """Seconds from the first displayed frame to the end of the last; an unknown duration is the median interval."""
        last = int(self.pts[-1] - self.pts[0])
        return (last + (self.last_duration or self.median_interval)) * self.time_base

    @property
    def median_interval(self) -> Fraction:
        """Ticks between displayed frames; one tick when there is only one frame."""
        intervals = np.sort(np.diff(self.pts))
        if not len(intervals):
            return Fraction(1)
        middle = len(intervals) // 2
        return Fraction(int(intervals[middle]) + int(intervals[~middle]), 2)

    def time_of(self, index: int) -> Fraction:
        """Seconds from the first displayed frame."""
        return int(self.pts[index] - self.pts[0]) * self.time_base

    def index_of(self, pts: int) -> int | None:
        """The displayed frame with this presentation time."""
        index = int(np.searchsorted(self.pts, pts))
        return index if index < len(self.pts) and self.pts[index] == pts else None

    def frames_between(self, start: Fraction, end: Fraction) -> range:
        """The frames with start ≤ time < end, in seconds."""
        first, last = (self._first_frame_from(bound) for bound in (start, end))
        return range(first, max(first, last))

    def with_neighbors(self, indexes: Iterable[int]) -> list[int]:
        """The frames and the frame before and after each, ascending."""
        last = len(self) - 1
        return sorted({min(max(index + step, 0), last) for index in indexes for step in (-1, 0, 1)})

    def confirmation_pts(self) -> Ticks:
        """For each frame, the time that confirms it.

        When the decoder has output the frame with that time, it has output every frame that comes before this one in
        decoding order. Only then it is certain that none of them is damaged.
        """
        in_decode_order = np.argsort(self.decode_order, kind="stable")
        confirmation_pts = np.empty_like(self.pts)
        confirmation_pts[in_decode_order] = np.maximum.accumulate(self.pts[in_decode_order])
        return confirmation_pts

    def _first_frame_from(self, seconds: Fraction) -> int:
        exact_ticks = seconds / self.time_base
        ticks = -(-exact_ticks.numerator // exact_ticks.denominator)
        return int(np.searchsorted(self.ticks, min(ticks, MAX_PTS)))


def build_frame_table(
    time_base: Fraction,
    pts: list[int] | Ticks,
    *,
    is_key: list[bool] | NDArray[np.bool_] | None = None,
    decode_order: list[int] | Ticks | None = None,
    last_duration: int = 0,
    match_by_index: bool = False,
) -> FrameTable:
    """The table of frames in any order, with distinct times. `decode_order` defaults to the order of `pts`."""
    times = np.asarray(pts, np.int64)
    by_time = np.argsort(times, kind="stable")
    keys = np.zeros(len(times), np.bool_) if is_key is None else np.asarray(is_key, np.bool_)
    places = np.arange(len(times), dtype=np.int64) if decode_order is None else np.asarray(decode_order, np.int64)
    return FrameTable(time_base, times[by_time], keys[by_time], places[by_time], last_duration, match_by_index)

"""The frame table: which frames a video displays and when, as exact numbers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Ticks = NDArray[np.int64]
MAX_PTS = 2**62
"""Later than every presentation time, in ticks."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameTable:
    """The displayed frames in presentation order; the arrays have one entry a frame.

    time_base: seconds of one tick. pts: presentation times, ticks, strictly ascending, at least one. keys: which are
    key frames. order: place in decoding order, counted over all packets. last_duration: ticks that the last frame is
    shown, 0 when unknown. by_ordinal: the container's times don't belong to its packets, so that decoded frames are
    matched by their number from the beginning and not by their time.
    """

    time_base: Fraction
    pts: Ticks
    keys: NDArray[np.bool_]
    order: Ticks
    last_duration: int = 0
    by_ordinal: bool = False

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

    def time(self, index: int) -> Fraction:
        """Seconds from the first displayed frame."""
        return int(self.pts[index] - self.pts[0]) * self.time_base

    def index_of(self, pts: int) -> int | None:
        """The displayed frame with this presentation time."""
        index = int(np.searchsorted(self.pts, pts))
        return index if index < len(self.pts) and self.pts[index] == pts else None

    def within(self, start: Fraction, end: Fraction) -> range:
        """The frames with start ≤ time < end, in seconds."""
        first, last = (self._first_from(bound) for bound in (start, end))
        return range(first, max(first, last))

    def settled_at(self) -> Ticks:
        """For each frame the presentation time at which every frame before it in decoding order has come out."""
        by_order = np.argsort(self.order, kind="stable")
        settled = np.empty_like(self.pts)
        settled[by_order] = np.maximum.accumulate(self.pts[by_order])
        return settled

    def _first_from(self, seconds: Fraction) -> int:
        exact = seconds / self.time_base
        ticks = -(-exact.numerator // exact.denominator)
        return int(np.searchsorted(self.ticks, min(ticks, MAX_PTS)))


def build(
    time_base: Fraction,
    pts: list[int] | Ticks,
    *,
    keys: list[bool] | NDArray[np.bool_] | None = None,
    order: list[int] | Ticks | None = None,
    last_duration: int = 0,
    by_ordinal: bool = False,
) -> FrameTable:
    """A table of frames given in any order with distinct times; `order` defaults to the order given."""
    times = np.asarray(pts, np.int64)
    by_time = np.argsort(times, kind="stable")
    marks = np.zeros(len(times), np.bool_) if keys is None else np.asarray(keys, np.bool_)
    places = np.arange(len(times), dtype=np.int64) if order is None else np.asarray(order, np.int64)
    return FrameTable(time_base, times[by_time], marks[by_time], places[by_time], last_duration, by_ordinal)

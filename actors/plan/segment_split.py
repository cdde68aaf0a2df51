"""Splits a long plan into segments, cut at key frames. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from actors.extraction_types import MAX_SEGMENTS
from actors.plan.frame_selection import GopTargets, count_frames_to_decode
from actors.plan.frame_table import FrameTable
from db.values.segment import Segment

SEGMENT_SHARE = 0.4
"""The time that a segment should take, as a part of the longest time that a task may take before it is split."""


def segment_count(seconds: float, max_task_seconds: float) -> int:
    """The number of segments for work that usually takes so many seconds; 1 when one task may do all of it."""
    if seconds <= max_task_seconds:
        return 1
    return min(MAX_SEGMENTS, max(2, math.ceil(seconds / (max_task_seconds * SEGMENT_SHARE))))


def split_plan(table: FrameTable, gops: Sequence[GopTargets], count: int) -> tuple[Segment, ...]:
    """Cuts a plan at key frames into at most `count` segments with about as many frames to decode each."""
    costs = np.array([count_frames_to_decode(table, [gop]) for gop in gops], np.int64)
    target_stops = np.cumsum([len(gop.targets) for gop in gops])
    cost_stops = np.cumsum(costs)
    even_cuts = cost_stops[-1] * np.arange(1, count) / count
    cuts = np.unique(np.searchsorted(cost_stops, even_cuts) + 1)
    inner_cuts = cuts[cuts < len(gops)].tolist()
    return tuple(
        Segment(
            number,
            int(target_stops[first - 1]) if first else 0,
            int(target_stops[stop - 1]),
            int(costs[first:stop].sum()),
        )
        for number, (first, stop) in enumerate(pairwise([0, *inner_cuts, len(gops)]))
    )

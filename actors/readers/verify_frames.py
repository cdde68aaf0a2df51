"""The proof of a reader's frames: a sample of them is decoded by PyAV too and compared on pixels."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

import numpy as np
from av.video.frame import VideoFrame

from actors.container.display_geometry import DisplayGeometry
from actors.container.probe import Probe
from actors.images.frame_arrays import YuvPlanes
from actors.images.frame_renderer import FrameRenderer
from actors.plan.frame_selection import GopTargets, Target, gop_targets
from actors.readers.frame_reader import FrameReader
from actors.readers.planned_reader import PlannedReader

SAMPLE_SHARE = 10
"""One target in so many is compared, and at least SAMPLE_MIN."""
SAMPLE_MIN = 3
COMPARED_SIDE = 256
MAX_DIFFERENCE = 2.0
"""Mean difference of samples (0–255) that another rounding makes at most; 10-bit video comes near 1."""
NEIGHBOR_MARGIN = 0.25
"""A frame may be nearer to a neighbor than to itself by this much: what rounding does to two equal pictures."""


T = TypeVar("T")


class DisagreementError(Exception):
    """A reader gave another picture than PyAV."""


def sampled(targets: Sequence[Target]) -> set[int]:
    """Indexes of the frames to compare: the first, the last, and some evenly between."""
    count = min(len(targets), max(SAMPLE_MIN, -(-len(targets) // SAMPLE_SHARE)))
    if count < 2:
        return {target.index for target in targets}
    return {targets[i * (len(targets) - 1) // (count - 1)].index for i in range(count)}


def verified(
    reader: FrameReader,
    probe: Probe,
    planned: Sequence[GopTargets],
    finish: Callable[[VideoFrame], T],
    *,
    threads: int,
) -> Iterator[tuple[Target, T]]:
    """What a reader that gives RGB frames gives; raises DisagreementError at the first that is not what PyAV decodes.

    A frame must be as good as equal to its own picture, and no nearer to one of its neighbors. PyAV runs alongside, so
    that only the pictures around one sample are held.
    """
    chosen = sampled([target for gop in planned for target in gop.targets])
    times = {int(probe.table.pts[index]) for index in chosen}
    given = FrameRenderer(DisplayGeometry() if reader.upright else probe.geometry, COMPARED_SIDE)

    def both(frame: VideoFrame) -> tuple[YuvPlanes | None, T]:
        return given.render_planes(frame) if frame.pts in times else None, finish(frame)

    window: dict[int, YuvPlanes] = {}
    with closing(_truth(probe, chosen, threads)) as truth:
        for target, (picture, made) in reader.read(planned, both):
            if picture is not None:
                window = _window(window, truth, target.index)
                _compare(picture, window, target.index)
            yield target, made


def _truth(probe: Probe, chosen: set[int], threads: int) -> Generator[tuple[Target, YuvPlanes]]:
    """Small pictures of the frames and their neighbors.

    A conversion to RGB cuts off strong colors, so the truth takes the same way.
    """
    last = len(probe.table) - 1
    around = sorted({min(max(index + step, 0), last) for index in chosen for step in (-1, 0, 1)})
    small = FrameRenderer(probe.geometry, COMPARED_SIDE)

    def picture(frame: VideoFrame) -> YuvPlanes:
        return small.render_planes(frame.reformat(format="rgb24"))

    yield from PlannedReader(probe, threads=threads).read(gop_targets(probe.table, around), picture)


def _window(known: dict[int, YuvPlanes], truth: Iterator[tuple[Target, YuvPlanes]], index: int) -> dict[int, YuvPlanes]:
    """The true pictures of a frame and its neighbors, as far as they can be decoded."""
    window = {at: picture for at, picture in known.items() if at >= index - 1}
    while max(window, default=-1) < index + 1:
        target, picture = next(truth, (None, None))
        if target is None or picture is None:
            break
        if target.index >= index - 1:
            window[target.index] = picture
    return window


def _compare(given: YuvPlanes, window: dict[int, YuvPlanes], index: int) -> None:
    if index not in window:
        raise DisagreementError(f"frame {index} can't be decoded by PyAV")
    own = _difference(given, window[index])
    others = [_difference(given, picture) for at, picture in window.items() if abs(at - index) == 1]
    if own > MAX_DIFFERENCE or own > min(others, default=own) + NEIGHBOR_MARGIN:
        raise DisagreementError(f"frame {index} is another picture")


def _difference(one: YuvPlanes, other: YuvPlanes) -> float:
    """The larger of the mean difference of the brightness and the difference of the mean colors."""
    if one.y.shape != other.y.shape:
        return float("inf")
    brightness = float(np.abs(one.y.astype(np.int16) - other.y.astype(np.int16)).mean())
    colors = max(abs(float(a.mean()) - float(b.mean())) for a, b in ((one.u, other.u), (one.v, other.v)))
    return max(brightness, colors)

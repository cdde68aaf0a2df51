"""Verifies decord's frames: PyAV decodes a sample of them too, and the pixels are compared."""

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
from actors.plan.frame_selection import GopTargets, Target, group_by_gop
from actors.readers.frame_reader import FrameReader
from actors.readers.planned_reader import PlannedReader

SAMPLE_SHARE = 10
"""One target in so many is compared, and at least MIN_SAMPLE."""
MIN_SAMPLE = 3
COMPARED_SIDE = 256
MAX_DIFFERENCE = 2.0
"""Largest mean difference of sample values (0–255) that another rounding makes; 10-bit video comes near 1."""
NEIGHBOR_MARGIN = 0.25
"""By so much a frame may be nearer to a neighbor than to itself: what rounding does to two equal pictures."""

T = TypeVar("T")


class FrameMismatchError(Exception):
    """A reader gave another picture than PyAV."""


def sample_indexes(targets: Sequence[Target]) -> set[int]:
    """The frames to compare: the first, the last, and others at even distances."""
    count = min(len(targets), max(MIN_SAMPLE, -(-len(targets) // SAMPLE_SHARE)))
    if count < 2:
        return {target.index for target in targets}
    return {targets[i * (len(targets) - 1) // (count - 1)].index for i in range(count)}


def read_verified(
    reader: FrameReader,
    probe: Probe,
    gops: Sequence[GopTargets],
    process_frame: Callable[[VideoFrame], T],
    *,
    threads: int,
) -> Iterator[tuple[Target, T]]:
    """Reads with a reader that gives RGB frames. Raises FrameMismatchError at the first frame that PyAV contradicts.

    A frame must equal PyAV's own picture of it, but for rounding, and be no nearer to a neighbor's picture. PyAV
    decodes at the same time, so that only the pictures around one sampled frame are in memory.
    """
    sample = sample_indexes([target for gop in gops for target in gop.targets])
    sample_pts = {int(probe.table.pts[index]) for index in sample}
    renderer = FrameRenderer(DisplayGeometry() if reader.autorotates else probe.geometry, COMPARED_SIDE)

    def render_and_process(frame: VideoFrame) -> tuple[YuvPlanes | None, T]:
        return renderer.render_planes(frame) if frame.pts in sample_pts else None, process_frame(frame)

    window: dict[int, YuvPlanes] = {}
    with closing(_reference_pictures(probe, sample, threads)) as references:
        for target, (picture, result) in reader.read(gops, render_and_process):
            if picture is not None:
                window = _move_window(window, references, target.index)
                _compare(picture, window, target.index)
            yield target, result


def _reference_pictures(probe: Probe, sample: set[int], threads: int) -> Generator[tuple[Target, YuvPlanes]]:
    """PyAV's pictures of the sampled frames and their neighbors.

    They are converted to RGB first, as the reader's frames are, because that conversion clips strong colors.
    """
    renderer = FrameRenderer(probe.geometry, COMPARED_SIDE)

    def render(frame: VideoFrame) -> YuvPlanes:
        return renderer.render_planes(frame.reformat(format="rgb24", threads=1))

    gops = group_by_gop(probe.table, probe.table.with_neighbors(sample))
    yield from PlannedReader(probe, threads=threads).read(gops, render)


def _move_window(
    window: dict[int, YuvPlanes], references: Iterator[tuple[Target, YuvPlanes]], index: int
) -> dict[int, YuvPlanes]:
    """The reference pictures of a frame and its neighbors, as far as they can be decoded."""
    moved = {at: picture for at, picture in window.items() if at >= index - 1}
    while max(moved, default=-1) < index + 1:
        target, picture = next(references, (None, None))
        if target is None or picture is None:
            break
        if target.index >= index - 1:
            moved[target.index] = picture
    return moved


def _compare(picture: YuvPlanes, window: dict[int, YuvPlanes], index: int) -> None:
    if index not in window:
        raise FrameMismatchError(f"frame {index} can't be decoded by PyAV")
    own = _difference(picture, window[index])
    neighbors = [_difference(picture, neighbor) for at, neighbor in window.items() if abs(at - index) == 1]
    if own > MAX_DIFFERENCE or own > min(neighbors, default=own) + NEIGHBOR_MARGIN:
        raise FrameMismatchError(f"frame {index} is another picture")


def _difference(one: YuvPlanes, other: YuvPlanes) -> float:
    """The larger of the mean difference of luma and the difference of mean chroma."""
    if one.y.shape != other.y.shape:
        return float("inf")
    luma = float(np.abs(one.y.astype(np.int16) - other.y.astype(np.int16)).mean())
    chroma = max(abs(float(a.mean()) - float(b.mean())) for a, b in ((one.u, other.u), (one.v, other.v)))
    return max(luma, chroma)

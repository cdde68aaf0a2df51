"""The interface of readers: they give the frames of a plan in order, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from av.video.frame import VideoFrame

from actors.plan.frame_selection import GopTargets, Target

MAX_REORDERED = 16
"""Frames that a decoder of any codec holds back at most. A frame table that implies more is wrong."""

T = TypeVar("T")


class ReaderFailedError(Exception):
    """A reader can't read this file; the text says why. Another reader may be able to."""


class FrameReader(Protocol):
    """autorotates: its frames are already rotated by the display matrix and have square pixels.

    decoded: frames that came out of the decoder so far. repeated: how many of these had the time of the frame before.
    missing: after `read`, the targets that were left out because the reader can't be sure that they are undamaged.
    """

    autorotates: bool
    repeated: int
    missing: list[Target]

    @property
    def decoded(self) -> int: ...

    def read(self, gops: Sequence[GopTargets], process_frame: Callable[[VideoFrame], T]) -> Iterator[tuple[Target, T]]:
        """Yields the targets in order, each with the value that `process_frame` returned for its frame.

        process_frame: is called in the thread that decoded the frame, possibly in several threads at once. The frame's
        pts is the target's. Only a few frames are in memory at a time.
        Raises CatalogueError of fault file, and every error of `process_frame`.
        """
        ...

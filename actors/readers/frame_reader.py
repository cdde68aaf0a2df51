"""What a reader is: it gives the frames of a plan, in order, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from av.video.frame import VideoFrame

from actors.plan.frame_selection import GopTargets, Target

T = TypeVar("T")


class ReaderFailedError(Exception):
    """A reader can't do what was asked, for reasons of its own; the text says which."""


class FrameReader(Protocol):
    """upright: whether its frames have been turned by the display matrix already and have square pixels.

    decoded: frames that came out of the decoder so far. repeated: of these, how many had the time of the one before.
    missing: after `read`, targets that were left out because they did not come out with certainty.
    """

    upright: bool
    repeated: int
    missing: list[Target]

    @property
    def decoded(self) -> int: ...

    def read(self, gops: Sequence[GopTargets], finish: Callable[[VideoFrame], T]) -> Iterator[tuple[Target, T]]:
        """Yields the targets in order, each with what `finish` made of its frame; never holds more than a few frames.

        finish: is called in the thread that decoded the frame, in several at once perhaps; its pts is the target's.
        Raises FotogramaError of fault file, and whatever `finish` raises.
        """
        ...

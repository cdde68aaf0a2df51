"""What a reader is: it gives the frames of a plan, in order, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from av.video.frame import VideoFrame

from actors.plan import Segment, Target


class FrameReader(Protocol):
    """upright: whether its frames have been turned by the display matrix already and have square pixels.

    decoded: frames that came out of the decoder so far. repeated: of these, how many had the time of the one before.
    missing: after `read`, targets that were left out because they did not come out with certainty.
    """

    upright: bool
    decoded: int
    repeated: int
    missing: list[Target]

    def read(self, segments: Sequence[Segment]) -> Iterator[tuple[Target, VideoFrame]]:
        """Yields the targets in order, each with its frame; never holds more than a few frames.

        Raises FotogramaError of fault file.
        """
        ...

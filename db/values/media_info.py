"""Media information: what the probe of a video has found. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Media:
    """What the probe found out about a video.

    width, height: pixels as displayed (pixel aspect and rotation applied). rotation: degrees clockwise, 0–359.
    duration: seconds, from the first displayed frame to the end of the last. frames: displayed frames.
    """

    container: str
    codec: str
    width: int
    height: int
    rotation: int
    duration: float
    frames: int
    fps_average: float
    variable_frame_rate: bool

    def document(self) -> dict[str, Any]:
        """The JSON object of the contract's `media`."""
        return asdict(self)

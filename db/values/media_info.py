"""Media information: what the probe of a video found. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from msgspec import Meta

Count = Annotated[int, Meta(ge=0, lt=2**31)]
"""Of frames: what an integer column holds."""
Pixels = Annotated[int, Meta(ge=0, lt=2**53)]
"""Along one side: what JSON holds exactly. A hostile pixel aspect ratio makes any number of them."""
Finite = Annotated[float, Meta(ge=0, le=sys.float_info.max)]


@dataclass(frozen=True, slots=True)
class Media:
    """What the probe found out about a video.

    width, height: pixels as displayed (pixel aspect and rotation applied). rotation: degrees clockwise, 0–359.
    duration: seconds, from the first displayed frame to the end of the last. frames: displayed frames. key_frames: of
    these, the key frames; the API does not show them.
    """

    container: str
    codec: str
    width: Pixels
    height: Pixels
    rotation: Annotated[int, Meta(ge=0, lt=360)]
    duration: Finite
    frames: Count
    fps_average: Finite
    variable_frame_rate: bool
    key_frames: Count

    def document(self) -> dict[str, Any]:
        """The JSON object that is stored."""
        return asdict(self)


def public_media(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the contract's `media` of a stored JSON object."""
    return {name: value for name, value in document.items() if name != "key_frames"}

"""A frame's format: size, pixel format and color tags, with a default for each tag that is missing."""

from __future__ import annotations

from dataclasses import dataclass

import av
from av.video.frame import VideoFrame

HD_MIN_HEIGHT = 720
"""Frames without color tags count as BT.709 from this height on, as BT.601 below it."""
LIMITED, FULL = 1, 2
"""AVColorRange."""
RGB, BT709, BT601, BT2020 = 0, 1, 5, 9
"""ISO/IEC 23091-2, matrix coefficients."""
MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}
"""FFmpeg's names of the matrices that its filters convert."""


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """subsampling: "420", "422" or "444", as near as the pixel format comes. matrix, range, transfer, primaries: as
    numbers of ISO/IEC 23091-2 and AVColorRange."""

    width: int
    height: int
    pixel_format: str
    subsampling: str
    matrix: int
    range: int
    transfer: int
    primaries: int


def frame_format_of(frame: VideoFrame) -> FrameFormat:
    name = frame.format.name
    if frame.format.is_rgb or name == "pal8":
        matrix, color_range = RGB, FULL
    else:
        default = BT709 if frame.height >= HD_MIN_HEIGHT else BT601
        matrix = frame.colorspace if frame.colorspace in MATRICES else default
        is_full = frame.color_range == FULL or name.startswith("yuvj")
        color_range = FULL if is_full else LIMITED
    chroma, transfer = _subsampling(name), int(frame.color_trc)
    return FrameFormat(
        frame.width, frame.height, name, chroma, matrix, color_range, transfer, int(frame.color_primaries)
    )


def _subsampling(pixel_format: str) -> str:
    described = av.VideoFormat(pixel_format, 64, 64)  # without a size its components have no size either
    if described.is_rgb or pixel_format == "pal8":
        return "444"
    if len(described.components) < 3:
        return "420"
    luma, chroma = described.components[0], described.components[1]
    if chroma.width == luma.width:
        return "444"
    return "422" if chroma.height == luma.height else "420"

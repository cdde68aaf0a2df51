"""The samples of a frame as numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Plane = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class YuvPlanes:
    """A picture of width × height pixels in BT.601; u and v may be subsampled."""

    width: int
    height: int
    y: Plane
    u: Plane
    v: Plane


def yuv_planes_of(picture: VideoFrame) -> YuvPlanes:
    """The samples of a planar 8-bit picture, not copied."""
    y, u, v = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in picture.planes
    )
    return YuvPlanes(picture.width, picture.height, y, u, v)


def rgb_array_of(picture: VideoFrame) -> Plane:
    """The samples of a picture in rgb24, height × width × 3, not copied."""
    (plane,) = picture.planes
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: picture.height, : 3 * picture.width].reshape(picture.height, picture.width, 3)

"""A synthetic video: a textured background under a moving camera, moving rectangles, grain, and the frame's number.

It moves by half pixels, uncovers hidden parts and never repeats a picture. So an encoder spends as many bits on it as
on real footage, and a decoder has motion vectors, residuals and edges to work on.
"""

from __future__ import annotations

import math

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from PIL import Image

from tests.support.videos.frame_number_pattern import picture, read_number

Plane = npt.NDArray[np.uint8]

NUMBER_SHARE = 4
"""The number's blocks fill the top left corner, this part of the width and of the height."""
GRAIN = 2.0
"""Standard deviation in levels."""
_BACKGROUND_SCALE = 2
"""Samples of the background per pixel and direction."""
_CAMERA_SWAY = (0.11, 0.07)
"""As a part of width and height."""
_RECTANGLES = 9


class SyntheticVideo:
    """Draws 8-bit BT.709 4:2:0 frames of an even size in pixels."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        random = np.random.default_rng(2 * width + height)
        self._sway = [math.ceil(size * share) for size, share in zip((width, height), _CAMERA_SWAY, strict=True)]
        across, down = (
            _BACKGROUND_SCALE * (size + 2 * sway) for size, sway in zip((width, height), self._sway, strict=True)
        )
        self._background = [draw_texture(random, across, down, 50, 190)]
        self._background += [draw_texture(random, across, down, 108, 148, finest=16) for _ in "uv"]
        self._rectangles = [self._rectangle(random) for _ in range(_RECTANGLES)]
        noise = np.clip(random.normal(8, GRAIN, (height + 64, width + 64)), 0, 16)
        self._grain = noise.astype(np.uint8)

    def frame(self, number: int) -> VideoFrame:
        """The frame of a number from 0 to 65,535, without a time."""
        planes = np.empty((self._height * 3 // 2, self._width), np.uint8)
        y = planes[: self._height]
        u, v = planes[self._height :].reshape(2, self._height // 2, self._width // 2)
        self._draw_background((y, u, v), number)
        for rectangle in self._rectangles:
            rectangle.draw((y, u, v), number)
        left, top = number * 37 % 64, number * 23 % 64
        y += self._grain[top : top + self._height, left : left + self._width]
        self._draw_number((y, u, v), number)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.colorspace, frame.color_range = 1, 1
        return frame

    def _draw_background(self, planes: tuple[Plane, ...], number: int) -> None:
        left, top = (
            round(_BACKGROUND_SCALE * sway * (1 + math.sin(number / speed)))
            for sway, speed in zip(self._sway, (41, 53), strict=True)
        )
        for plane, background, step in zip(
            planes, self._background, (_BACKGROUND_SCALE, 2 * _BACKGROUND_SCALE, 2 * _BACKGROUND_SCALE), strict=True
        ):
            rows, columns = plane.shape
            plane[:] = background[top : top + rows * step : step, left : left + columns * step : step]

    def _rectangle(self, random: np.random.Generator) -> _MovingRectangle:
        width, height = (int(random.integers(size // 12, size // 5)) // 2 * 2 for size in (self._width, self._height))
        planes = [draw_texture(random, width, height, 50, 200)]
        planes += [draw_texture(random, width // 2, height // 2, 100, 156, finest=16) for _ in "uv"]
        room = (self._width - width, self._height - height)
        return _MovingRectangle(planes, room, random.uniform(15, 60, 2), random.uniform(0, 6, 2))

    def _draw_number(self, planes: tuple[Plane, ...], number: int) -> None:
        width, height = self._width // NUMBER_SHARE, self._height // NUMBER_SHARE
        gray = picture(width, height, number)[:, :, 1].astype(np.uint16)
        planes[0][:height, :width] = 16 + gray * 219 // 255
        for plane in planes[1:]:
            plane[: height // 2, : width // 2] = 128


class _MovingRectangle:
    """A textured rectangle that moves back and forth. room: how far its corner moves from the top left, in pixels."""

    def __init__(
        self, planes: list[Plane], room: tuple[int, int], speed: npt.NDArray[np.float64], phase: npt.NDArray[np.float64]
    ) -> None:
        self._planes, self._room, self._speed, self._phase = planes, room, speed, phase

    def draw(self, planes: tuple[Plane, ...], number: int) -> None:
        swing = (1 + np.sin(number / self._speed + self._phase)) / 2
        left, top = (int(room * part) // 2 for room, part in zip(self._room, swing, strict=True))
        for plane, texture, scale in zip(planes, self._planes, (2, 1, 1), strict=True):
            rows, columns = texture.shape
            plane[top * scale : top * scale + rows, left * scale : left * scale + columns] = texture


def draw_texture(
    random: np.random.Generator, width: int, height: int, low: int, high: int, *, finest: int = 4
) -> Plane:
    """Noise at several scales from `finest` pixels on; coarser noise is stronger. low, high: the range of its levels,
    which must keep every color inside RGB."""
    total = np.zeros((height, width), np.float32)
    for scale in (finest, 4 * finest, 16 * finest, 64 * finest):
        small = random.integers(0, 256, (height // scale + 2, width // scale + 2), dtype=np.uint8)
        layer = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer, np.float32) * np.float32(scale**0.3)
    minimum, maximum = float(total.min()), float(total.max())
    return (low + (total - minimum) * ((high - low) / (maximum - minimum))).astype(np.uint8)


def read_number_in_corner(rgb: npt.NDArray[np.uint8]) -> int | None:
    """The number in a frame of any size, shape (height, width, 3); None when it can't be read with certainty."""
    height, width = rgb.shape[0] // NUMBER_SHARE, rgb.shape[1] // NUMBER_SHARE
    return read_number(rgb[:height, :width])

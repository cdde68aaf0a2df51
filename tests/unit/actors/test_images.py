"""Image colors for every pixel format, color matrix and range."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from actors.container.display_geometry import DisplayGeometry
from actors.images.frame_arrays import YuvPlanes
from actors.images.frame_renderer import FrameRenderer
from actors.images.image_encoder import encode_jpeg
from db.values.error_catalogue import CatalogueError

KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
LIMITED, FULL, UNTAGGED = 1, 2, 2
WIDTH, HEIGHT = 160, 96

Picture = NDArray[np.float64]


def gradient(width: int, height: int) -> Picture:
    """Red from left to right, green from top to bottom, values from 26 to 230."""
    y, x = np.mgrid[0:height, 0:width]
    return 26 + 204 * np.stack([x / width, y / height, (x / width + y / height) / 2], axis=-1)


def yuv_frame(rgb: Picture, pixel_format: str, matrix: int, span: int) -> VideoFrame:
    """The RGB picture as a frame of this pixel format, by the formulas of ISO/IEC 23091-2."""
    red, green, blue = (rgb[..., i] / 255 for i in range(3))
    kr, kb = KR_KB[matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    u, v = (blue - luma) / 2 / (1 - kb), (red - luma) / 2 / (1 - kr)
    scales = (255, 0, 255, 128) if span == FULL else (219, 16, 224, 128)
    planes = np.stack([luma * scales[0] + scales[1], u * scales[2] + scales[3], v * scales[2] + scales[3]])
    frame = VideoFrame.from_ndarray(np.round(planes).astype(np.uint8), format="yuv444p")
    frame = frame.reformat(format=pixel_format, src_color_range=span, dst_color_range=span)
    frame.colorspace, frame.color_range = matrix, span
    return frame


def jpeg_pixels(picture: YuvPlanes) -> Picture:
    return np.asarray(Image.open(io.BytesIO(encode_jpeg(picture, 100))).convert("RGB")).astype(np.float64)


def color_shift(picture: Picture, expected: Picture) -> float:
    """The largest difference of a color's mean, without the pictures' edges."""
    return float(np.abs((picture - expected)[2:-2, 2:-2].mean(axis=(0, 1))).max())


@pytest.mark.parametrize("span", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", KR_KB)
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv420p12le", "nv12"])
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (WIDTH + 1, HEIGHT + 1)])
def test_colors_are_right_for_every_matrix_range_format_and_size(
    size: tuple[int, int], pixel_format: str, matrix: int, span: int
) -> None:
    rgb = gradient(*size)
    image = jpeg_pixels(FrameRenderer(DisplayGeometry()).render_planes(yuv_frame(rgb, pixel_format, matrix, span)))
    assert image.shape == rgb.shape
    assert color_shift(image, rgb) < 1.2
    assert np.abs(image - rgb)[2:-2, 2:-2].mean() < 2


@pytest.mark.parametrize(("lines", "matrix"), [(576, 5), (720, 1)])
def test_untagged_frame_is_bt601_below_720_lines_and_bt709_from_720(lines: int, matrix: int) -> None:
    rgb = gradient(lines * 16 // 9, lines)
    frame = yuv_frame(rgb, "yuv420p", matrix, LIMITED)
    frame.colorspace, frame.color_range = UNTAGGED, 0
    assert color_shift(jpeg_pixels(FrameRenderer(DisplayGeometry()).render_planes(frame)), rgb) < 1.2


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p"])
def test_picture_is_mirrored_then_rotated_clockwise(pixel_format: str, mirrored: bool, turns: int) -> None:
    rgb = gradient(WIDTH, HEIGHT)
    frame = yuv_frame(rgb, pixel_format, 5, LIMITED)
    image = jpeg_pixels(FrameRenderer(DisplayGeometry(Fraction(1), turns, mirrored)).render_planes(frame))
    upright = np.rot90(rgb[:, ::-1] if mirrored else rgb, -turns)
    assert image.shape == upright.shape
    assert np.abs(image - upright)[2:-2, 2:-2].mean() < 2


@pytest.mark.parametrize("side", [16, 50, 97])
def test_resized_picture_keeps_its_colors(side: int) -> None:
    rgb = gradient(WIDTH, HEIGHT)
    picture = FrameRenderer(DisplayGeometry(Fraction(4, 3)), side).render_planes(yuv_frame(rgb, "yuv420p", 1, LIMITED))
    assert picture.width == side
    assert np.abs(jpeg_pixels(picture).mean(axis=(0, 1)) - rgb.mean(axis=(0, 1))).max() < 1.5


@pytest.mark.parametrize(
    "pixel_format", ["rgb24", "gbrp", "gbrp10le", "gray", "gray10le", "yuva420p", "yuv440p", "yuv411p", "yuv410p"]
)
def test_rare_pixel_formats_are_converted(pixel_format: str) -> None:
    rgb = gradient(WIDTH, HEIGHT)
    frame = VideoFrame.from_ndarray(rgb.round().astype(np.uint8), format="rgb24").reformat(format=pixel_format)
    gray = pixel_format.startswith("gray")
    frame.color_range = FULL if gray else LIMITED
    image = jpeg_pixels(FrameRenderer(DisplayGeometry()).render_planes(frame))
    expected = np.repeat(rgb @ [[0.299], [0.587], [0.114]], 3, axis=-1) if gray else rgb
    assert color_shift(image, expected) < 2
    assert image.shape == rgb.shape


def test_frame_size_may_change_within_a_video() -> None:
    renderer = FrameRenderer(DisplayGeometry())
    sizes = [(WIDTH, HEIGHT), (320, 240), (WIDTH, HEIGHT)]
    pictures = [renderer.render_planes(yuv_frame(gradient(*size), "yuv420p", 5, LIMITED)) for size in sizes]
    assert [(picture.width, picture.height) for picture in pictures] == sizes


def test_frame_of_absurd_size_is_refused() -> None:
    with pytest.raises(CatalogueError, match="picture_too_large"):
        FrameRenderer(DisplayGeometry(Fraction(1000))).render_planes(av.VideoFrame(160, 96, "yuv420p"))

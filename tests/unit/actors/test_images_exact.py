"""An image's samples against formulas in floating point: mean error at most half a level, for every format."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
import simplejpeg
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image as Pillow

from actors.container.display_geometry import DisplayGeometry
from actors.images.frame_renderer import FrameRenderer
from actors.images.image_encoder import ImageEncoder
from db.values.frame_spec import Image, ImageFormat

KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
BT601, BT2020 = 5, 9
LIMITED, FULL = 1, 2
WIDTH, HEIGHT = 160, 96
MAX_MEAN_ERROR = 0.5
FORMATS = {"yuv420p": (8, 2, 2), "yuv422p": (8, 2, 1), "yuv444p": (8, 1, 1), "yuv420p10le": (10, 2, 2)}
"""Bits of a sample, and the horizontal and vertical subsampling of chroma."""

Float = NDArray[np.float64]


def gradient_frame(
    width: int, height: int, pixel_format: str, matrix: int, span: int
) -> tuple[VideoFrame, list[Float]]:
    """A soft gradient as a frame, and the values of its samples: luma 0–1, chroma −½–½."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rgb = np.stack([0.3 + 0.4 * x / width, 0.35 + 0.35 * y / height, 0.55 - 0.25 * (x + y) / (width + height)])
    kr, kb = KR_KB[matrix]
    luma = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2]
    full = [luma, (rgb[2] - luma) / 2 / (1 - kb), (rgb[0] - luma) / 2 / (1 - kr)]
    bits, across, down = FORMATS[pixel_format]
    planes = [full[0], *(chroma[::down, ::across] for chroma in full[1:])]
    frame = VideoFrame(width, height, pixel_format)
    rounded = []
    for index, (plane, values) in enumerate(zip(frame.planes, planes, strict=True)):
        scale, offset = scale_and_offset(bits, span, color=index > 0)
        codes = np.rint(values * scale + offset)
        rounded.append((codes - offset) / scale)
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        samples = padded.view("<u2") if bits > 8 else padded
        samples[: values.shape[0], : values.shape[1]] = codes
        plane.update(padded.tobytes())
    frame.colorspace, frame.color_range = matrix, span
    return frame, rounded


def scale_and_offset(bits: int, span: int, *, color: bool) -> tuple[float, float]:
    """The code of a value v is v * scale + offset."""
    unit = 1 << (bits - 8)
    if span == FULL:
        return (1 << bits) - 1, (128 * unit if color else 0)
    return (224 if color else 219) * unit, (128 if color else 16) * unit


def to_rgb(planes: list[Float], matrix: int) -> Float:
    """Red, green and blue of planes of one size, without clipping."""
    kr, kb = KR_KB[matrix]
    luma, u, v = planes
    red, blue = luma + 2 * (1 - kr) * v, luma + 2 * (1 - kb) * u
    return np.stack([red, (luma - kr * red - kb * blue) / (1 - kr - kb), blue])


def bt2020_to_bt709(rgb: Float) -> Float:
    """From BT.2020's primaries to BT.709's, in linear light (ITU-R BT.2087)."""
    linear = np.where(rgb < 0.0181 * 4.5, rgb / 4.5, ((np.maximum(rgb, 0.02) + 0.0993) / 1.0993) ** (1 / 0.45))
    to_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
    light = np.einsum("ij,jhw->ihw", to_709, linear)
    display: Float = np.where(light < 0.0181, 4.5 * light, 1.0993 * np.maximum(light, 0.001) ** 0.45 - 0.0993)
    return np.clip(display, 0, 1)


def upsample(planes: list[Float], shape: tuple[int, int]) -> list[Float]:
    """Repeats chroma at every pixel: exact only where chroma does not change from pixel to pixel."""
    return [
        np.repeat(np.repeat(plane, -(-shape[0] // plane.shape[0]), 0), -(-shape[1] // plane.shape[1]), 1)[
            : shape[0], : shape[1]
        ]
        for plane in planes
    ]


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (WIDTH + 1, HEIGHT + 1)])
@pytest.mark.parametrize("span", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", [1, 5, 6, 7])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_jpeg_samples_are_within_half_a_level_of_the_formulas(
    pixel_format: str, matrix: int, span: int, size: tuple[int, int]
) -> None:
    frame, samples = gradient_frame(*size, pixel_format, matrix, span)
    picture = FrameRenderer(DisplayGeometry()).render_planes(frame)
    # In the matrix of a JFIF file, luma depends on luma and chroma of each pixel, and chroma on chroma alone.
    full_rgb = to_rgb(upsample(samples, (size[1], size[0])), matrix)
    kr, kb = KR_KB[BT601]
    luma = 255 * (kr * full_rgb[0] + (1 - kr - kb) * full_rgb[1] + kb * full_rgb[2])
    assert np.abs(picture.y - luma).mean() <= MAX_MEAN_ERROR
    chroma_rgb = to_rgb([np.zeros_like(samples[1]), samples[1], samples[2]], matrix)
    gray = kr * chroma_rgb[0] + (1 - kr - kb) * chroma_rgb[1] + kb * chroma_rgb[2]
    for plane, color, weight in ((picture.u, chroma_rgb[2], 1 - kb), (picture.v, chroma_rgb[0], 1 - kr)):
        assert plane.shape == color.shape
        assert np.abs(plane - (128 + 255 * (color - gray) / 2 / weight)).mean() <= MAX_MEAN_ERROR


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (WIDTH + 1, HEIGHT + 1)])
@pytest.mark.parametrize("span", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", KR_KB)
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p10le"])
def test_png_samples_are_within_half_a_level_of_the_formulas(
    pixel_format: str, matrix: int, span: int, size: tuple[int, int]
) -> None:
    frame, samples = gradient_frame(*size, pixel_format, matrix, span)
    image = encode_and_decode(frame, Image(ImageFormat.PNG))
    rgb = to_rgb(upsample(samples, (size[1], size[0])), matrix)
    expected = 255 * (bt2020_to_bt709(rgb) if matrix == BT2020 else rgb)
    error = np.abs(image.transpose(2, 0, 1) - expected)
    # The repeated chroma is itself inexact where 4:2:0 chroma changes.
    assert error.mean() <= MAX_MEAN_ERROR + (0.3 if pixel_format == "yuv420p10le" else 0)


@pytest.mark.parametrize("span", [LIMITED, FULL])
def test_wide_gamut_jpeg_samples_are_within_half_a_level_of_the_formulas(span: int) -> None:
    frame, samples = gradient_frame(WIDTH, HEIGHT, "yuv444p", BT2020, span)
    picture = FrameRenderer(DisplayGeometry()).render_planes(frame)
    rgb = bt2020_to_bt709(to_rgb(samples, BT2020))
    kr, kb = KR_KB[BT601]
    luma = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2]
    is_in_gamut = (rgb > 0).all(axis=0)
    expected = [255 * luma, 128 + 255 * (rgb[2] - luma) / 2 / (1 - kb), 128 + 255 * (rgb[0] - luma) / 2 / (1 - kr)]
    for plane, expected_plane in zip((picture.y, picture.u, picture.v), expected, strict=True):
        # Colors outside BT.709 are clipped only when the JPEG is converted to RGB.
        assert np.abs(plane - expected_plane)[is_in_gamut].mean() <= MAX_MEAN_ERROR


def encode_and_decode(frame: VideoFrame, image: Image, geometry: DisplayGeometry | None = None) -> Float:
    data = ImageEncoder(geometry or DisplayGeometry(), image).encode(frame).data
    with Pillow.open(io.BytesIO(data)) as file:
        assert file.format is not None
        assert file.format.lower() == image.format.value
        assert not {"gamma", "icc_profile", "srgb", "chromaticity"} & set(file.info)
        return np.asarray(file.convert("RGB")).astype(np.float64)


@pytest.mark.parametrize(
    ("pixel_format", "chroma"), [("yuv420p", "420"), ("yuv422p", "422"), ("yuv444p", "444"), ("yuv420p10le", "420")]
)
def test_jpeg_chroma_subsampling_follows_the_video(pixel_format: str, chroma: str) -> None:
    frame, _ = gradient_frame(WIDTH, HEIGHT, pixel_format, 1, LIMITED)
    assert simplejpeg.decode_jpeg_header(ImageEncoder(DisplayGeometry(), Image()).encode(frame).data)[3] == chroma


def test_png_of_an_rgb_video_is_lossless() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    image = encode_and_decode(VideoFrame.from_ndarray(pixels, format="rgb24"), Image(ImageFormat.PNG))
    assert np.array_equal(image, pixels)


@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (WIDTH + 1, HEIGHT + 1)])
def test_webp_keeps_the_colors(size: tuple[int, int], matrix: int) -> None:
    frame, samples = gradient_frame(*size, "yuv420p", matrix, LIMITED)
    image = encode_and_decode(frame, Image(ImageFormat.WEBP, 100))
    rgb = to_rgb(upsample(samples, (size[1], size[0])), matrix)
    expected = 255 * (bt2020_to_bt709(rgb) if matrix == BT2020 else rgb).transpose(1, 2, 0)
    assert np.abs((image - expected).mean(axis=(0, 1))).max() < 1.2
    assert np.abs(image - expected).mean() < 2


def test_webp_of_higher_quality_is_larger() -> None:
    noise = np.random.default_rng(3).integers(40, 200, (HEIGHT, WIDTH, 3), np.uint8)
    images = [Image(ImageFormat.WEBP, quality) for quality in (1, 50, 90, 100)]
    sizes = [
        len(ImageEncoder(DisplayGeometry(), image).encode(VideoFrame.from_ndarray(noise)).data) for image in images
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("image_format", ImageFormat)
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_is_applied_in_every_format(image_format: ImageFormat, mirrored: bool, turns: int) -> None:
    frame, samples = gradient_frame(WIDTH, HEIGHT, "yuv420p", 5, LIMITED)
    image = encode_and_decode(frame, Image(image_format, 95), DisplayGeometry(Fraction(1), turns, mirrored))
    rgb = 255 * to_rgb(upsample(samples, (HEIGHT, WIDTH)), 5).transpose(1, 2, 0)
    upright = np.rot90(rgb[:, ::-1] if mirrored else rgb, -turns)
    assert image.shape == upright.shape
    assert np.abs(image - upright).mean() < 2


@pytest.mark.parametrize("image_format", ImageFormat)
def test_same_frame_gives_the_same_bytes_in_every_encoder(image_format: ImageFormat) -> None:
    image = Image(image_format, 80, 64)
    first, second = ImageEncoder(DisplayGeometry(), image), ImageEncoder(DisplayGeometry(), image)
    files = [
        encoder.encode(gradient_frame(WIDTH, HEIGHT, "yuv420p", 1, LIMITED)[0]).data
        for encoder in (first, first, second)
    ]
    assert len(set(files)) == 1


@pytest.mark.parametrize("side", [20, 50, 120])
@pytest.mark.parametrize("image_format", ImageFormat)
def test_resized_picture_is_the_mean_of_its_pixels_in_every_format(image_format: ImageFormat, side: int) -> None:
    frame, samples = gradient_frame(WIDTH, HEIGHT, "yuv420p", 1, LIMITED)
    image = encode_and_decode(frame, Image(image_format, 95, side))
    rgb = 255 * to_rgb(upsample(samples, (HEIGHT, WIDTH)), 1).transpose(1, 2, 0)
    assert max(image.shape) == side
    assert np.abs(image.mean(axis=(0, 1)) - rgb.mean(axis=(0, 1))).max() < 1.2

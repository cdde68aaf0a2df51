"""HDR to SDR for 8-bit images: PQ by the curve of ITU-R BT.2390, HLG without tone mapping."""

from __future__ import annotations

import io

import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image as Pillow

from actors.container.display_geometry import DisplayGeometry
from actors.images.color_conversion import SDR_PEAK
from actors.images.image_encoder import ImageEncoder
from db.values.frame_spec import Image, ImageFormat

WIDTH, HEIGHT = 160, 96
LIMITED, BT2020, PQ, HLG = 1, 9, 16, 18

Float = NDArray[np.float64]


def gray(transfer: int, minimum: int = 64, maximum: int = 940) -> tuple[VideoFrame, Float]:
    """A gray wedge of 10 bits from left to right, and its signal, 0–1."""
    codes = np.rint(np.linspace(minimum, maximum, WIDTH)).astype("<u2")
    chroma = np.full((HEIGHT // 2, WIDTH // 2), 512, "<u2")
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p10le")
    for plane, samples in zip(frame.planes, (np.tile(codes, (HEIGHT, 1)), chroma, chroma), strict=True):
        padded = np.zeros((plane.height, plane.line_size // 2), "<u2")
        padded[:, : samples.shape[1]] = samples
        plane.update(padded.tobytes())
    frame.colorspace, frame.color_primaries = BT2020, BT2020
    frame.color_range, frame.color_trc = LIMITED, transfer
    return frame, (codes - 64) / 876


def pq_to_light(signal: Float) -> Float:
    """The luminance in cd/m² (SMPTE ST 2084)."""
    root = signal ** (1 / 78.84375)
    light: Float = 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    return light


def roll_off(signal: Float) -> Float:
    """The spline of ITU-R BT.2390, from the full range of PQ to SDR_PEAK."""
    light = (SDR_PEAK / 10_000) ** 0.1593017578125
    peak = ((0.8359375 + 18.8515625 * light) / (1 + 18.6875 * light)) ** 78.84375
    knee = 1.5 * peak - 0.5
    t = (signal - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * peak
    return np.where(signal < knee, signal, spline)


def row_of(frame: VideoFrame, image_format: ImageFormat) -> Float:
    data = ImageEncoder(DisplayGeometry(), Image(image_format, 100)).encode(frame).data
    rgb = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB")).astype(np.float64)
    assert np.ptp(rgb, axis=2).max() <= 3, "gray stays gray"
    row: Float = rgb.mean(axis=(0, 2))
    return row


@pytest.mark.parametrize("image_format", ImageFormat)
def test_pq_follows_the_bt2390_curve(image_format: ImageFormat) -> None:
    frame, signal = gray(PQ)
    expected = 255 * np.minimum(1, pq_to_light(roll_off(signal)) / SDR_PEAK) ** (1 / 2.4)
    assert np.abs(row_of(frame, image_format) - expected).mean() < 1


def test_hdr_reference_white_is_three_quarters_and_highlights_are_not_clipped() -> None:
    frame, signal = gray(PQ, minimum=100, maximum=850)
    row = row_of(frame, ImageFormat.JPEG)
    white = row[np.argmin(np.abs(pq_to_light(signal) - 203))]
    assert 0.7 < white / 255 < 0.8
    assert np.all(np.diff(row[::8]) > 0)


@pytest.mark.parametrize("image_format", ImageFormat)
def test_hlg_is_converted_as_wide_gamut_sdr(image_format: ImageFormat) -> None:
    frame, signal = gray(HLG)
    assert np.abs(row_of(frame, image_format) - 255 * signal).mean() < 1


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("side", [33, 80])
def test_resized_hdr_picture_keeps_its_brightness(transfer: int, side: int) -> None:
    frame, _ = gray(transfer)
    data = ImageEncoder(DisplayGeometry(), Image(ImageFormat.JPEG, 95, side)).encode(frame).data
    with Pillow.open(io.BytesIO(data)) as small:
        assert max(small.size) == side
        mean = np.asarray(small.convert("L")).mean()
    assert abs(mean - row_of(gray(transfer)[0], ImageFormat.JPEG).mean()) < 2

"""HDR becomes SDR for 8-bit images; here, because FFmpeg's tone mapping takes seconds to set up."""

from __future__ import annotations

import io

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from actors.images import Renderer, jpeg
from actors.upright import Geometry

WIDTH, HEIGHT = 160, 96
LIMITED, BT2020, PQ = 1, 9, 16


def test_a_brighter_hdr_gray_stays_brighter_and_none_is_cut_off() -> None:
    luma = np.tile(np.linspace(64, 800, WIDTH).astype("<u2"), (HEIGHT, 1))
    chroma = np.full((HEIGHT // 2, WIDTH // 2), 512, "<u2")
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p10le")
    for plane, samples in zip(frame.planes, (luma, chroma, chroma), strict=True):
        padded = np.zeros((plane.height, plane.line_size // 2), "<u2")
        padded[:, : samples.shape[1]] = samples
        plane.update(padded.tobytes())
    frame.colorspace, frame.color_primaries = BT2020, BT2020
    frame.color_range, frame.color_trc = LIMITED, PQ
    image = np.asarray(Image.open(io.BytesIO(jpeg(Renderer(Geometry()).render(frame), 100))))
    row = image.mean(axis=(0, 2))
    assert np.all(np.diff(row[::8]) > 0)
    assert row[-1] <= 255

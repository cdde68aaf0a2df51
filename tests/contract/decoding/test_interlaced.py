"""Interlaced video: an image shows one field's time and does not depend on other targets."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from actors.engine.extract import extract
from actors.extraction_types import EngineOptions, Reader
from db.values.frame_spec import parse

FRAMES, WIDTH, HEIGHT, STEP = 20, 320, 192, 6
CODECS = {
    "libx264": ("film.mp4", {"x264-params": "tff=1:keyint=10:bframes=2", "crf": "12"}),
    "mpeg2video": ("film.ts", {}),
}


@pytest.fixture(params=CODECS, scope="module")
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bright bar that moves between the two fields of a frame as it does between frames."""
    name, options = CODECS[request.param]
    path = tmp_path_factory.mktemp("interlaced") / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(request.param, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 6_000_000
        if request.param == "mpeg2video":
            stream.codec_context.flags |= 0x00040000 | 0x20000000  # coded as fields: DCT and motion
        for index in range(FRAMES):
            rgb = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
            for field in (0, 1):
                left = 20 + STEP * (2 * index + field)
                rgb[field::2, left : left + 40] = 210
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def images(film: Path, spec: str, out: Path, **options: Any) -> dict[int, bytes]:
    out.mkdir()
    extract(film, parse(spec), out, options=EngineOptions(**options))
    manifest = json.loads((out / "manifest.json").read_text())
    with zipfile.ZipFile(out / "frames.zip") as file:
        return {frame["index"]: file.read(frame["name"]) for frame in manifest["frames"]}


def combing(image: bytes) -> float:
    """How much more neighboring rows differ than neighboring rows of one field."""
    gray: NDArray[np.float64] = np.asarray(Image.open(io.BytesIO(image)).convert("L")).astype(np.float64)
    return float(np.abs(np.diff(gray, axis=0)).mean() - np.abs(gray[2:] - gray[:-2]).mean())


ALL = '{"sample": {"mode": "all"}}'


def test_no_image_blends_two_fields(film: Path, tmp_path: Path) -> None:
    with av.open(str(film)) as container:
        raw = next(container.decode(video=0)).to_ndarray(format="rgb24")
    interleaved = io.BytesIO()
    Image.fromarray(raw).save(interleaved, "PNG")
    images_by_index = images(film, ALL, tmp_path / "all")
    assert sorted(images_by_index) == list(range(FRAMES))
    assert combing(interleaved.getvalue()) > 5
    assert max(combing(image) for image in images_by_index.values()) < 1


def test_deinterlaced_image_shows_its_own_time(film: Path, tmp_path: Path) -> None:
    for index, image in images(film, ALL, tmp_path / "all").items():
        row = np.asarray(Image.open(io.BytesIO(image)).convert("L"))[HEIGHT // 2].astype(float)
        middle = float((np.flatnonzero(row > 125)).mean())
        assert abs(middle - (20 + STEP * 2 * index + 19.5)) <= STEP


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"sequential": True}, {"reader": Reader.DECORD}])
def test_deinterlaced_image_does_not_depend_on_other_targets(
    film: Path, options: dict[str, object], tmp_path: Path
) -> None:
    among_all = images(film, ALL, tmp_path / "all")
    alone = images(film, '{"sample": {"mode": "timestamps", "at": [0, 0.28, 0.32, 0.76]}}', tmp_path / "one", **options)
    assert sorted(alone) == [0, 7, 8, 19]
    assert all(among_all[index] == image for index, image in alone.items())

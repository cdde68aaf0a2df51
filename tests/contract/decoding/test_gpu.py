"""Decoding on the GPU: where there is none, PyAV does it; where there is one, its frames are PyAV's but for rounding.

The wheel of decord that the tests run with is built without CUDA, and refuses to decode on a GPU: a real failure.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fotograma
from actors.container.probe import probe
from actors.engine.extract import extract, extract_or_split
from actors.extraction_types import EngineOptions, Extracted, GpuDecoder, Reader, Split
from actors.readers.decord_envelope import unsupported_on_gpu
from actors.readers.gpu_probe import GPU_CODECS, probe_gpu
from db.values.frame_spec import parse
from tests.support.videos.clips import ClipByName

ALL = '{"sample": {"mode": "all"}}'
GPU = GpuDecoder(tuple(GPU_CODECS))
GPU_BT709 = replace(GPU, has_bt709=True)
REPORT = probe_gpu()
needs_gpu = pytest.mark.skipif(bool(REPORT.missing), reason=f"There is no GPU to decode on: {REPORT.about}")
needs_no_gpu = pytest.mark.skipif(not REPORT.missing, reason="decord decodes on the GPU here.")
MAX_MEAN_DIFFERENCE = 3.0
"""Of the samples of an image, 0 to 255: another rounding, and JPEG."""

Run = Callable[..., tuple[Extracted, Path]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(source: Path, reader: Reader, gpu: GpuDecoder | None = None) -> tuple[Extracted, Path]:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        return extract(source, parse(ALL), out, options=EngineOptions(reader, gpu=gpu)), out

    return run


def images(out: Path) -> list[bytes]:
    with zipfile.ZipFile(out / "frames.zip") as archive:
        return [archive.read(name) for name in archive.namelist() if name.endswith(".jpg")]


def fallback_reasons(out: Path) -> list[tuple[str, str]]:
    report = json.loads((out / "report.json").read_text())
    assert report["reader"] == "pyav"
    return [(fallback["code"], fallback["reason"]) for fallback in report["fallbacks"]]


@needs_no_gpu
@pytest.mark.parametrize(
    ("gpu", "reason"),
    [(GPU, "decord can't open the file"), (None, "the GPU does not decode without a GPU that decord can use")],
)
def test_file_that_the_gpu_can_not_open_gets_the_images_of_pyav_and_a_warning(
    gpu: GpuDecoder | None, reason: str, clips: ClipByName, run: Run
) -> None:
    source, _ = clips("h264")
    result, out = run(source, Reader.GPU, gpu)
    assert [warning.code for warning in result.warnings] == ["gpu_fallback"]
    assert fallback_reasons(out) == [("gpu_fallback", reason)]
    assert images(out) == images(run(source, Reader.PYAV)[1])


@needs_no_gpu
def test_library_asked_for_a_gpu_that_is_not_there_warns(clips: ClipByName, tmp_path: Path) -> None:
    result = fotograma.extract(clips("h264")[0], ALL, tmp_path, reader="gpu")
    assert [warning.code for warning in result.warnings] == ["gpu_fallback"]


@pytest.mark.parametrize(
    ("clip", "gpu", "feature"),
    [
        ("h264", GPU, None),
        ("h264", replace(GPU, codecs=("hevc",)), "the codec h264"),
        ("h264", GPU_BT709, "colors of another matrix"),
        ("av1_mp4", GPU, "the codec av1"),
        ("hevc_10_bit", GPU, "the pixel format yuv420p10le"),
        ("h264_rotated_90", GPU, "a rotated picture"),
        ("mpegts", GPU, "the container mpegts"),
        ("h264_edit_list", GPU, "an edit list"),
        ("h264_open_gop", GPU, "open GOPs"),
    ],
)
def test_what_the_gpu_does_not_decode_is_told_before_it_is_tried(
    clip: str, gpu: GpuDecoder, feature: str | None, clips: ClipByName
) -> None:
    assert unsupported_on_gpu(probe(clips(clip)[0]), gpu) == feature


@pytest.mark.parametrize(("codecs", "outcome"), [(("h264",), Extracted), (("hevc",), Split)])
def test_long_video_is_split_only_when_the_gpu_does_not_decode_it(
    codecs: tuple[str, ...], outcome: type, clips: ClipByName, tmp_path: Path
) -> None:
    """The segments are for CPU workers, so the plan has the name of their engine."""
    result = extract_or_split(
        clips("h264")[0],
        parse(ALL),
        tmp_path,
        max_task_seconds=1e-6,
        engine="auto/7",
        options=EngineOptions(Reader.GPU, gpu=replace(GPU, codecs=codecs)),
        on_progress=lambda _event: None,
    )
    assert isinstance(result, outcome)
    if isinstance(result, Split):
        assert '"auto/7"' in (tmp_path / "plan.json").read_text()


@needs_gpu
@pytest.mark.parametrize(
    "name", ["h264", "h264_b_frames", "h264_vfr", "h264_bt709", "h264_one_gop", "hevc", "vp9_webm", "av1_mp4"]
)
def test_frames_of_the_gpu_are_those_of_pyav_but_for_rounding(name: str, clips: ClipByName, run: Run) -> None:
    source, _ = clips(name)
    assert REPORT.decoder is not None
    result, out = run(source, Reader.GPU, REPORT.decoder)
    expected, expected_out = run(source, Reader.PYAV)
    if unsupported_on_gpu(probe(source), REPORT.decoder) is None:
        assert [warning.code for warning in result.warnings] == [warning.code for warning in expected.warnings]
        assert json.loads((out / "report.json").read_text())["reader"] == "gpu"
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (out, expected_out)]
    kept = [[(frame["name"], frame["pts"]) for frame in manifest["frames"]] for manifest in manifests]
    assert kept[0] == kept[1]
    for one, other in zip(images(out), images(expected_out), strict=True):
        pixels = [np.asarray(Image.open(io.BytesIO(image)).convert("RGB"), np.int16) for image in (one, other)]
        assert np.abs(pixels[0] - pixels[1]).mean() <= MAX_MEAN_DIFFERENCE

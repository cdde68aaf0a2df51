"""Finds the quality at which ffmpeg's JPEGs have the PSNR of this engine's.

OpenCV and Pillow use the same encoder and tables as this engine, libjpeg-turbo's, and so get the same quality. If their
PSNR is lower, the conversion to RGB is the reason.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from actors.extraction_types import EngineOptions
from actors.sandbox.child_protocol import Job, encode_job
from benchmarks.extract.clips import FPS
from benchmarks.extract.compared_programs import CHILD_LIMITS, JPEG_QUALITY, ffmpeg_problem, measure_child
from benchmarks.extract.image_quality import (
    Reference,
    decode_reference,
    measure_fidelity,
    read_frame_number,
    read_images,
)
from benchmarks.extract.scenarios import ONE_FPS
from db.values.frame_spec import FrameSpec, Image, Range, canonical

SECONDS = 3
FILTER_SHIFT = FPS // 2 - 1
"""ffmpeg's filter `fps=1` takes the last frame before each half second."""
FFMPEG_QUALITIES = range(1, 6)


def calibrate_ffmpeg(source: Path) -> tuple[int, str]:
    """ffmpeg's `-q:v` for a clip, and a line with the PSNR of luma that both reach."""
    starts = [second * FPS for second in range(SECONDS)]
    reference = decode_reference(source, [*starts, *(start + FILTER_SHIFT for start in starts)])
    engine_psnr = _psnr(_engine_images(source), reference)
    line = f"quality {JPEG_QUALITY}: {engine_psnr:.1f} dB"
    if ffmpeg_problem():
        return FFMPEG_QUALITIES[0], line
    psnrs = {quality: _psnr(_ffmpeg_images(source, quality), reference) for quality in FFMPEG_QUALITIES}
    nearest = min(psnrs, key=lambda quality: abs(psnrs[quality] - engine_psnr))
    return nearest, f"{line}; ffmpeg -q:v {nearest}: {psnrs[nearest]:.1f} dB"


def _psnr(files: Sequence[bytes], reference: Reference) -> float:
    fidelity = measure_fidelity(files, [read_frame_number(file) for file in files], reference)
    if fidelity is None:
        raise RuntimeError("an image shows none of the clip's frames")
    return fidelity.psnr


def _engine_images(source: Path) -> list[bytes]:
    spec = FrameSpec(ONE_FPS, Range(end=Fraction(SECONDS)), Image(quality=JPEG_QUALITY))
    with tempfile.TemporaryDirectory() as folder:
        job = Job(source.resolve(), canonical(spec), Path(folder), EngineOptions(), CHILD_LIMITS)
        measure_child(encode_job(job), output=Path(folder, "frames.zip"))
        return read_images(Path(folder, "frames.zip"))


def _ffmpeg_images(source: Path, quality: int) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(source), "-vf", "fps=1", "-frames:v", str(SECONDS)]
        subprocess.run([*command, "-q:v", str(quality), "-qmin", "1", f"{folder}/%d.jpg"], check=True)
        return [path.read_bytes() for path in sorted(Path(folder).iterdir())]

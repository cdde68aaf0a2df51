"""Equal quality: which setting makes ffmpeg's JPEGs as near to the decoded video as this engine's are.

OpenCV and Pillow use the same encoder and tables as this engine, libjpeg-turbo's, and so the same quality. What their
images are farther off than its own was lost on the way to RGB.
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
from benchmarks.extract.contestants import CHILD_LIMITS, JPEG_QUALITY, child, ffmpeg_problem
from benchmarks.extract.image_quality import Reference, decoded, images_of, nearness, number_of
from benchmarks.extract.scenarios import EACH_SECOND
from db.values.frame_spec import FrameSpec, Image, Range, canonical

SECONDS = 3
FILTER_SHIFT = FPS // 2 - 1
"""ffmpeg's filter `fps=1` takes the last frame before each half second."""
FFMPEG_QUALITIES = range(1, 6)


def calibrated(source: Path) -> tuple[int, str]:
    """ffmpeg's `-q:v` for a clip, and a line that says what it gives; the measure is the PSNR of luma."""
    starts = [second * FPS for second in range(SECONDS)]
    reference = decoded(source, [*starts, *(start + FILTER_SHIFT for start in starts)])
    ours = _psnr(_engine(source), reference)
    line = f"quality {JPEG_QUALITY}: {ours:.1f} dB"
    if ffmpeg_problem():
        return FFMPEG_QUALITIES[0], line
    tried = {quality: _psnr(_ffmpeg(source, quality), reference) for quality in FFMPEG_QUALITIES}
    nearest = min(tried, key=lambda quality: abs(tried[quality] - ours))
    return nearest, f"{line}; ffmpeg -q:v {nearest}: {tried[nearest]:.1f} dB"


def _psnr(files: Sequence[bytes], reference: Reference) -> float:
    near = nearness(files, [number_of(file) for file in files], reference)
    if near is None:
        raise RuntimeError("an image shows none of the clip's frames")
    return near.psnr


def _engine(source: Path) -> list[bytes]:
    spec = FrameSpec(EACH_SECOND, Range(end=Fraction(SECONDS)), Image(quality=JPEG_QUALITY))
    with tempfile.TemporaryDirectory() as folder:
        job = Job(source.resolve(), canonical(spec), Path(folder), EngineOptions(), CHILD_LIMITS)
        child(encode_job(job), makes=Path(folder, "frames.zip"))
        return images_of(Path(folder, "frames.zip"))


def _ffmpeg(source: Path, quality: int) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(source), "-vf", "fps=1", "-frames:v", str(SECONDS)]
        subprocess.run([*command, "-q:v", str(quality), "-qmin", "1", f"{folder}/%d.jpg"], check=True)
        return [path.read_bytes() for path in sorted(Path(folder).iterdir())]

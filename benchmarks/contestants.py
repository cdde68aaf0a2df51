"""The programs that are compared at one job: one JPEG per second of a video, in `frames.zip`.

Each is a fresh process tree, measured from its start, imports included. All may use the same number of threads.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from actors.extraction import Options
from actors.protocol import Job, Limits, encode_job
from benchmarks.measure import Usage, usage_of
from db.spec import Fps, FrameSpec, Image, canonical

JPEG_QUALITY = 90
FFMPEG_QUALITY = 2
"""The `-q:v` whose pictures are nearest to JPEG_QUALITY in size and PSNR."""
LIMIT_SECONDS = 900.0
# The worker gives its child no more environment than this.
CHILD_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
CHILD_LIMITS = Limits(address_space_bytes=8 << 30, cpu_seconds=3_600, file_bytes=8 << 30, seconds=LIMIT_SECONDS)


@dataclass(frozen=True, slots=True)
class Contestant:
    """run: (source, archive to make in an empty folder, threads) → what it took. missing: why it can't run here."""

    name: str
    run: Callable[[Path, Path, int], Usage]
    missing: str = ""


def contestants() -> list[Contestant]:
    return [
        Contestant("ffmpeg + zip", ffmpeg, "" if shutil.which("ffmpeg") else "there is no ffmpeg on the PATH"),
        Contestant("fotograma", engine),
        Contestant("decord + Pillow", decord),
    ]


def engine(source: Path, archive: Path, threads: int) -> Usage:
    """This engine, in the decoding child of a worker."""
    spec = FrameSpec(sample=Fps(Fraction(1)), image=Image(quality=JPEG_QUALITY))
    job = Job(source.resolve(), canonical(spec), archive.parent.resolve(), Options(threads=threads), CHILD_LIMITS)
    return usage_of(
        [sys.executable, "-I", "-m", "actors.child", str(os.getpid())],
        makes=archive,
        limit_seconds=LIMIT_SECONDS,
        told=encode_job(job),
        environment=CHILD_ENVIRONMENT,
    )


def ffmpeg(source: Path, archive: Path, threads: int) -> Usage:
    """The command line that people use, then a stored zip of its images."""
    images = archive.parent / "images"
    images.mkdir()
    decode = ["ffmpeg", "-nostdin", "-v", "error", "-threads", str(threads), "-i", str(source), "-vf", "fps=1"]
    encode = ["-q:v", str(FFMPEG_QUALITY), str(images / "%06d.jpg")]
    extracting = usage_of([*decode, *encode], makes=images / "000001.jpg", limit_seconds=LIMIT_SECONDS)
    return extracting.then(usage_of(_zip_command(images, archive), makes=archive, limit_seconds=LIMIT_SECONDS))


def decord(source: Path, archive: Path, threads: int) -> Usage:
    """decord and Pillow, as in benchmarks/decord_pillow.py."""
    script = Path(__file__).with_name("decord_pillow.py")
    command = [sys.executable, str(script), str(source), str(archive), str(threads), str(JPEG_QUALITY)]
    return usage_of(command, makes=archive, limit_seconds=LIMIT_SECONDS)


def _zip_command(images: Path, archive: Path) -> list[str]:
    if shutil.which("zip"):
        return ["zip", "-0", "-q", "-r", "-j", str(archive), str(images)]
    program = (
        "import sys, pathlib, zipfile\n"
        "with zipfile.ZipFile(sys.argv[2], 'w') as archive:\n"
        "    for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "        archive.write(path, path.name)\n"
    )
    return [sys.executable, "-I", "-S", "-c", program, str(images), str(archive)]

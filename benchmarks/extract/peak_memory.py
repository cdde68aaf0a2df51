"""Measures this engine's peak memory: long and short results, 4K, and an archive that is written to a slow pipe."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from actors.extraction_types import PREVIEW_SECONDS, EngineOptions
from actors.sandbox.child_protocol import Job, encode_job
from benchmarks.extract.clips import ensure_clip, find_clip
from benchmarks.extract.compared_programs import CHILD_LIMITS, JPEG_QUALITY, measure_child
from benchmarks.process_measurement import CommandFailed
from db.values.frame_spec import AllFrames, FrameSpec, Image, Range, canonical

SLOW_BYTES_PER_SECOND = 20_000_000
SLOW_SECONDS = 6
_PIPE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Peak memory of a decoding child that extracts every frame. kind: "1080p" or "4K". bytes: None when it failed, and
    `note` says why."""

    name: str
    title: str
    kind: str
    bytes: int | None
    note: str = ""


_MEASUREMENTS = (
    # name, kind, clip, title, whether the archive is a slow pipe
    ("memory_1080p_short", "1080p", "1080p_gop48_short", "every frame, 1080p", False),
    ("memory_1080p_long", "1080p", "1080p_gop48", "every frame, 1080p, three times as long", False),
    ("memory_1080p_slow", "1080p", "1080p_gop48_short", "every frame, 1080p, into a pipe of 20 MB/s", True),
    ("memory_4k", "4K", "4k_gop60_short", "every frame, 4K", False),
    ("memory_4k_slow", "4K", "4k_gop60_short", "every frame, 4K, into a pipe of 20 MB/s", True),
)


def measure_peaks(clips: Path, *, threads: int, quick: bool) -> Iterator[PeakMemory]:
    """Measures each peak once, because peaks hardly vary."""
    for name, kind, clip_name, title, is_slow in _MEASUREMENTS:
        source = ensure_clip(clips, find_clip(clip_name, quick=quick))
        try:
            yield PeakMemory(name, title, kind, _peak(source, threads, slow=is_slow))
        except CommandFailed as failure:
            yield PeakMemory(name, title, kind, None, f"failed: {failure}")


def _peak(source: Path, threads: int, *, slow: bool) -> int:
    spec = FrameSpec(AllFrames(), Range(end=Fraction(SLOW_SECONDS) if slow else None), Image(quality=JPEG_QUALITY))
    with tempfile.TemporaryDirectory(prefix="fotograma-benchmark-") as name:
        archive = Path(name, "frames.zip")
        options = EngineOptions(threads=threads, preview_seconds=PREVIEW_SECONDS)
        job = Job(source.resolve(), canonical(spec), archive.parent, options, CHILD_LIMITS)
        if not slow:
            return measure_child(encode_job(job), output=archive).peak_bytes
        with _slow_pipe(archive):
            return measure_child(encode_job(job), output=archive).peak_bytes


@contextmanager
def _slow_pipe(archive: Path) -> Iterator[None]:
    """Makes the archive a named pipe and reads SLOW_BYTES_PER_SECOND from it."""
    os.mkfifo(archive)
    end, pipe = threading.Event(), os.open(archive, os.O_RDONLY | os.O_NONBLOCK)

    def consume() -> None:
        while not end.wait(_PIPE_BYTES / SLOW_BYTES_PER_SECOND):
            with suppress(BlockingIOError):
                os.read(pipe, _PIPE_BYTES)

    thread = threading.Thread(target=consume)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        os.close(pipe)

"""report.json: how a result was made. It may differ from run to run; so none of it is in the archive."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import simplejpeg

from actors.extraction_types import ENGINE_VERSION, Reader


@dataclass(slots=True)
class DecodeStats:
    """One decode pass, whatever number of results it made.

    displayed: frames in the frame table. decoded, repeated: frames that came out of the decoder, and how many of these
    had the time of the frame before. seconds: by stage; "read" is the wait for the reader, "encode" is summed over its
    threads.
    """

    reader: Reader = Reader.PYAV
    fallbacks: list[dict[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    displayed: int = 0
    decoded: int = 0
    repeated: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of its block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            with self._lock:
                self.seconds[name] = self.seconds.get(name, 0.0) + seconds


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """Of one result. missing: images that were left out because the reader can't be sure that they are undamaged."""

    planned: int
    written: int
    missing: int


def write_report(
    path: Path, stats: DecodeStats, images: ImageCounts, ffmpeg: str, *, segments: Sequence[Mapping[str, Any]] = ()
) -> None:
    """segments: how each was made, when the plan was split; `stats` is then the sum over all of them."""
    report: dict[str, Any] = {
        "reader": stats.reader,
        "engine_version": ENGINE_VERSION,
        "libraries": library_versions() | {"ffmpeg": ffmpeg},
        "fallbacks": stats.fallbacks,
        "frames": {
            "table": stats.displayed,
            "planned": images.planned,
            "decoded": stats.decoded,
            "given": images.written,
            "missing": images.missing,
            "repeated": stats.repeated,
        },
        "seconds": {name: round(seconds, 3) for name, seconds in sorted(stats.seconds.items())},
    }
    if segments:
        report |= {"sequential": any(segment["sequential"] for segment in segments), "segments": list(segments)}
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def library_versions() -> dict[str, str]:
    """The versions of the libraries that made a result, by the names of their distributions."""
    return {
        "av": av.__version__,
        "decord2": _decord_version(),
        "numpy": np.__version__,
        "simplejpeg": simplejpeg.__version__,
    }


def _decord_version() -> str:
    """From the name of the folder that the installer wrote: importing decord, or `importlib.metadata`, takes longer
    than a short video."""
    package = find_spec("decord")
    assert package is not None
    assert package.origin is not None
    found = next(Path(package.origin).parents[1].glob("decord2-*.dist-info"), None)
    if found is not None:
        return found.name.removesuffix(".dist-info").removeprefix("decord2-")
    from importlib.metadata import version  # noqa: PLC0415 - for an installer that keeps it elsewhere

    return version("decord2")

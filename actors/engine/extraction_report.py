"""The report: how a result was made. It may differ from run to run; nothing of it stands in the archive."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from actors.extraction_types import ENGINE_VERSION, Reader

LIBRARIES = ("av", "decord2", "numpy", "simplejpeg")


@dataclass(slots=True)
class Decoding:
    """One pass over a video, whatever number of results it made.

    table: displayed frames. decoded, repeated: frames that came out of the decoder, and how many of these had the time
    of the one before. seconds: by stage; "read" is the wait for the reader, "encode" is added up over its threads.
    """

    reader: Reader = Reader.PYAV
    fallbacks: list[dict[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    table: int = 0
    decoded: int = 0
    repeated: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            with self._lock:
                self.seconds[name] = self.seconds.get(name, 0.0) + seconds


@dataclass(frozen=True, slots=True)
class Images:
    """Of one result: how many were planned, given, and left out because they could not be decoded with certainty."""

    planned: int
    given: int
    missing: int


def write_report(
    path: Path, decoding: Decoding, images: Images, ffmpeg: str, *, segments: Sequence[Mapping[str, Any]] = ()
) -> None:
    """segments: how each was made, when the work was divided; the rest is then of all together."""
    document: dict[str, Any] = {
        "reader": decoding.reader,
        "engine_version": ENGINE_VERSION,
        "libraries": {name: version(name) for name in LIBRARIES} | {"ffmpeg": ffmpeg},
        "fallbacks": decoding.fallbacks,
        "frames": {
            "table": decoding.table,
            "planned": images.planned,
            "decoded": decoding.decoded,
            "given": images.given,
            "missing": images.missing,
            "repeated": decoding.repeated,
        },
        "seconds": {name: round(seconds, 3) for name, seconds in sorted(decoding.seconds.items())},
    }
    if segments:
        document |= {"careful": any(segment["careful"] for segment in segments), "segments": list(segments)}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

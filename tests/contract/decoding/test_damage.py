"""Damaged files: no wrong or missing frame without a warning, no hang, and no exception other than a catalogue error.

Each case damages an intact clip by one kind of damage and one seed. A result without a warning must be that of the
intact file: every frame, with its own number in its pixels. SILENT lists the damage that no reader can notice;
docs/decisions/0006-what-damage-is-noticed.md says why. FOTOGRAMA_SUITE=full runs many more seeds.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import zipfile
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
import simplejpeg

from actors.engine.extract import extract
from actors.extraction_types import Extracted
from db.values.error_catalogue import CatalogueError, Fault
from db.values.frame_spec import parse
from tests.support.case_counts import CountCases
from tests.support.videos.clips import ClipSpec, make_clip
from tests.support.videos.file_damage import DAMAGES
from tests.support.videos.frame_number_pattern import read_number

SEEDS = 100 if os.environ.get("FOTOGRAMA_SUITE") == "full" else 6
DEADLINE_SECONDS = 20.0
"""For a file that takes 0.03 s when it is intact, because a machine may be busy."""
HEADING = "damaged files, correct cases"
ALL = parse('{"sample": {"mode": "all"}}')
CABAC = "keyint=12:min-keyint=12:scenecut=0:bframes=2:cabac=1"


SMALL = ClipSpec(width=96, height=64, frames=30, gop=10, fps=Fraction(25))


def clip(codec: str, suffix: str, **changes: Any) -> ClipSpec:
    return replace(SMALL, codec=codec, suffix=suffix, **changes)


CLIPS = {
    "h264 mp4": clip("libx264", ".mp4", b_frames=2),
    "h264 mp4 fragmented": clip("libx264", ".mp4", fragmented=True),
    "h264 mov": clip("libx264", ".mov", faststart=True),
    "h264 mkv": clip("libx264", ".mkv", b_frames=2),
    "h264 ts": clip("libx264", ".ts", b_frames=2),
    "h264 m2ts": clip("libx264", ".m2ts", b_frames=2),
    "h264 avi": clip("libx264", ".avi"),
    "h264 flv": clip("libx264", ".flv", b_frames=2),
    "h264 cabac mp4": clip("libx264", ".mp4", b_frames=2, options=(("preset", "superfast"), ("x264-params", CABAC))),
    "hevc mp4": clip("libx265", ".mp4", b_frames=2),
    "hevc mkv": clip("libx265", ".mkv", b_frames=2),
    "vp8 webm": clip("libvpx", ".webm"),
    "vp8 mkv": clip("libvpx", ".mkv"),
    "vp9 webm": clip("libvpx-vp9", ".webm"),
    "vp9 mp4": clip("libvpx-vp9", ".mp4"),
    "av1 mp4": clip("libsvtav1", ".mp4"),
    "av1 webm": clip("libsvtav1", ".webm"),
    "mpeg4 avi": clip("mpeg4", ".avi"),
    "mpeg4 mp4": clip("mpeg4", ".mp4", b_frames=2),
    "mpeg2 ts": clip("mpeg2video", ".ts", b_frames=2),
    "mpeg2 mpg": clip("mpeg2video", ".mpg", b_frames=2),
    "wmv2 wmv": clip("wmv2", ".wmv"),
    "flv1 flv": clip("flv", ".flv"),
    "mjpeg avi": clip("mjpeg", ".avi", gop=1, pix_fmt="yuvj420p"),
    "ffv1 mkv": clip("ffv1", ".mkv", gop=1),
}

INSIDE_PACKETS = {"bit flips", "noise block", "swapped blocks"}
SILENT: dict[str, set[str]] = {
    "h264 cabac mp4": INSIDE_PACKETS,
    "hevc mp4": INSIDE_PACKETS,
    "vp8 webm": INSIDE_PACKETS | {"zeroed block"},
    "mjpeg avi": INSIDE_PACKETS | {"zeroed block", "absurd number"},
    "h264 avi": INSIDE_PACKETS,
    "mpeg4 avi": INSIDE_PACKETS,
    "mpeg4 mp4": INSIDE_PACKETS,
    "mpeg2 ts": INSIDE_PACKETS,
    "mpeg2 mpg": INSIDE_PACKETS,
    "flv1 flv": INSIDE_PACKETS,
    "h264 mp4": INSIDE_PACKETS,
}
"""Formats without checksums whose decoders accept any bits, and the damage that may stay unnoticed in them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """numbers: in the images. indexes: in the manifest."""

    extracted: Extracted
    numbers: list[int | None]
    indexes: list[int]

    @property
    def is_warned(self) -> bool:
        return bool(self.extracted.warnings)


def run(source: Path, out: Path) -> Outcome | None:
    """Returns None after an error of the file, or when the file makes the engine need more memory than there is."""
    try:
        extracted = extract(source, ALL, out)
    except MemoryError:
        return None
    except CatalogueError as error:
        if error.fault is Fault.FILE:
            return None
        raise
    frames = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["frames"]
    with zipfile.ZipFile(out / "frames.zip") as archive:
        images = [simplejpeg.decode_jpeg(archive.read(frame["name"]), "RGB") for frame in frames]
    return Outcome(extracted, [read_number(image) for image in images], [frame["index"] for frame in frames])


def is_correct(outcome: Outcome, kind: str, frames: int) -> bool:
    """Returns whether a result is correct. One with a warning is.

    Without a warning it must have all frames, each with the number of its index. An absurd number may be a time of the
    container, and a file with other times is valid: then frames may be hidden, but none may be wrong or unreadable.
    """
    if outcome.is_warned:
        return True
    if kind != "absurd number":
        return outcome.numbers == outcome.indexes == list(range(frames))
    readable = [number for number in outcome.numbers if number is not None]
    return len(readable) == len(outcome.numbers) and readable == sorted(set(readable))


@cache
def intact_clip(name: str) -> bytes:
    """The file, whose result has every frame and no warning."""
    spec = CLIPS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"intact{spec.suffix}"
        make_clip(path, spec)
        outcome = run(path, path.parent)
        assert outcome is not None
        assert not outcome.is_warned
        assert outcome.numbers == outcome.indexes == list(range(spec.frames))
        return path.read_bytes()


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", CLIPS)
def test_damaged_file_gives_right_frames_a_warning_or_a_file_error(
    name: str, kind: str, tmp_path: Path, count_cases: CountCases
) -> None:
    spec, data, unnoticed = CLIPS[name], intact_clip(name), []
    for seed in range(SEEDS):
        damaged = bytearray(data)
        DAMAGES[kind](damaged, Random(f"{name} {kind} {seed}"))
        source = tmp_path / f"damaged{spec.suffix}"
        source.write_bytes(damaged)
        start = time.perf_counter()
        outcome = run(source, tmp_path)
        assert time.perf_counter() - start < DEADLINE_SECONDS
        if outcome is not None and not is_correct(outcome, kind, spec.frames):
            unnoticed.append((seed, outcome.numbers))
    if kind not in SILENT.get(name, set()):
        assert unnoticed == []
    count_cases(HEADING, SEEDS - len(unnoticed))
    count_cases("damaged files, cases with damage that no reader can notice", len(unnoticed))

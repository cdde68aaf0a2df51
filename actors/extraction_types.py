"""What goes into an extraction and what comes out of it, as values. Nothing of FFmpeg is imported here.

`actors.engine.extract` makes them in the decoding child; the worker only reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from db.values.media_info import Media

ENGINE_VERSION = "2"
"""Rises whenever the same bytes and specification could give another archive."""


ARCHIVE = "frames.zip"
REPORT = "report.json"
RESULT_FILES = (ARCHIVE, "manifest.json", "manifest.csv", "sheet.jpg", "sheet.vtt", REPORT)
"""What `extract` and the assembling of parts write."""
PLAN = "plan.json"
"""What planning for parts writes."""
IMAGES, INDEX, SMALL, NOTES = "images.bin", "index.jsonl", "small.bin", "part.json"
PART_FILES = (IMAGES, INDEX, SMALL, NOTES)
"""What carrying out a portion writes: `actors.engine.extract_segment` says what stands in them."""
MAX_PORTIONS = 64


class Reader(StrEnum):
    AUTO = "auto"
    PYAV = "pyav"
    DECORD = "decord"


@dataclass(frozen=True, slots=True)
class Options:
    """How, not what: none of it changes which frames are given.

    threads: decoder threads. careful: sequential, one thread, whatever `reader` says. max_frames: images at most.
    """

    reader: Reader = Reader.AUTO
    threads: int = 1
    careful: bool = False
    max_frames: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Planned:
    """Told once, before the first image is made. frames_total: images that the archive will hold. frames_to_decode: to
    make them."""

    media: Media
    frames_total: int
    frames_to_decode: int


@dataclass(frozen=True, slots=True)
class Scanning:
    """Told before a first pass over the video that looks for shots; the plan is told after it."""

    media: Media
    frames_to_decode: int


@dataclass(frozen=True, slots=True)
class Progress:
    frames_done: int


@dataclass(frozen=True, slots=True)
class Portion:
    """A stretch of a plan that one claim carries out: its targets at the places [first, stop), in time order.

    cost: frames to decode for them.
    """

    first: int
    stop: int
    cost: int


@dataclass(frozen=True, slots=True)
class Split:
    """Told instead of a result: the work is too long for one claim. A plan for it stands in the folder for the results,
    and the portions cover it. frames_total: images that the archive will hold."""

    media: Media
    frames_total: int
    portions: tuple[Portion, ...]


@dataclass(frozen=True, slots=True)
class PartMade:
    """A portion has been carried out; its files stand in the folder for the results. frames: images in them."""

    frames: int


@dataclass(frozen=True, slots=True)
class ResultWarning:
    """Something that the owner should know about a result that is right as far as it goes."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class OtherEngine:
    """Told instead of a part or a result: the plan or a part was made by another engine, with which this one's images
    must not be mixed. made_by: its name; empty when it had none."""

    made_by: str


@dataclass(frozen=True, slots=True)
class Extracted:
    """bytes, sha256: of frames.zip."""

    media: Media
    frames: int
    bytes: int
    sha256: str
    warnings: tuple[ResultWarning, ...]


def engine_name(reader: Reader) -> str:
    """Reader and engine version: with the video's bytes and the canonical specification they determine an archive."""
    return f"{reader}/{ENGINE_VERSION}"

"""What goes into an extraction and what comes out of it, as values. Nothing of FFmpeg is imported here.

`actors.engine.extract` makes them in the decoding child; the worker only reads them. `actors.sandbox.child_protocol`
checks the bounds in their types: what the database can't hold never gets past it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from db.values.media_info import Count, Media
from db.values.segment import Segment

ENGINE_VERSION = "2"
"""Rises whenever the same bytes and specification could give another archive."""


ARCHIVE = "frames.zip"
REPORT = "report.json"
RESULT_FILES = (ARCHIVE, "manifest.json", "manifest.csv", "sheet.jpg", "sheet.vtt", REPORT)
"""What `extract` and the assembling of segments write."""
PLAN = "plan.json"
"""What splitting a plan writes."""
IMAGES, INDEX, SMALL, NOTES = "images.bin", "index.jsonl", "small.bin", "segment.json"
SEGMENT_FILES = (IMAGES, INDEX, SMALL, NOTES)
"""What carrying out a segment writes: `actors.engine.extract_segment` says what stands in them."""
MAX_SEGMENTS = 64
SEGMENT_SECONDS = 300.0
"""Work that usually takes one core longer than this is done in segments."""


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


class Planned(Struct, frozen=True, tag=True):
    """Told once, before the first image is made. frames_total: images that the archive will hold. frames_to_decode: to
    make them."""

    media: Media
    frames_total: Count
    frames_to_decode: Count


class Scanning(Struct, frozen=True, tag=True):
    """Told before a first pass over the video that looks for shots; the plan is told after it."""

    media: Media
    frames_to_decode: Count


class Progress(Struct, frozen=True, tag=True):
    frames_done: Count


class Split(Struct, frozen=True, tag=True):
    """Told instead of a result: the work is too long for one claim. A plan for it stands in the folder for the results,
    and the segments cover it. frames_total: images that the archive will hold."""

    media: Media
    frames_total: Count
    segments: Annotated[tuple[Segment, ...], Meta(min_length=1, max_length=MAX_SEGMENTS)]


class SegmentExtracted(Struct, frozen=True, tag=True):
    """A segment has been carried out; its files stand in the folder for the results. frames: images in them."""

    frames: Count


@dataclass(frozen=True, slots=True)
class ResultWarning:
    """Something that the owner should know about a result that is right as far as it goes."""

    code: str
    detail: str


class OtherEngine(Struct, frozen=True, tag=True):
    """Told instead of a segment or a result: the plan or a segment was made by another engine, with which this one's
    images must not be mixed. made_by: its name; empty when it had none."""

    made_by: str


class Extracted(Struct, frozen=True, tag=True):
    """bytes, sha256: of frames.zip."""

    media: Media
    frames: Count
    bytes: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    warnings: Annotated[tuple[ResultWarning, ...], Meta(max_length=100)]


def engine_name(reader: Reader) -> str:
    """Reader and engine version: with the video's bytes and the canonical specification they determine an archive."""
    return f"{reader}/{ENGINE_VERSION}"

"""What goes into an extraction and what comes out of it, as values. This module imports nothing of FFmpeg.

The engine makes them in the decoding child, and the worker reads them. `actors.sandbox.child_protocol` checks the
bounds in their types, so that only what the database can hold gets past it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from db.values.media_info import Count, Media
from db.values.segment import Segment

ENGINE_VERSION = "3"
"""Rises whenever the same bytes and specification could give another archive."""

ARCHIVE_FILE = "frames.zip"
REPORT_FILE = "report.json"
RESULT_FILES = (ARCHIVE_FILE, "manifest.json", "manifest.csv", "sheet.jpg", "sheet.vtt", REPORT_FILE)
"""The files of a result."""
PLAN_FILE = "plan.json"
"""The file of a plan that is split into segments: `actors.engine.plan_file`."""
SEGMENT_IMAGES, SEGMENT_INDEX = "images.bin", "index.jsonl"
SEGMENT_THUMBNAILS, SEGMENT_REPORT = "thumbnails.bin", "segment.json"
SEGMENT_FILES = (SEGMENT_IMAGES, SEGMENT_INDEX, SEGMENT_THUMBNAILS, SEGMENT_REPORT)
"""The files of an extracted segment: `actors.engine.extract_segment`."""
PREVIEW_SECONDS = 5.0
"""The shortest time between two previews. The largest one takes 4 to 10 ms of a core: at most 0.2 % of its time."""
MAX_SEGMENTS = 64
SEGMENT_SECONDS = 300.0
"""A task whose work usually takes one core longer than this is split into segments."""


class Reader(StrEnum):
    """What decodes. GPU: decord on the GPU."""

    AUTO = "auto"
    PYAV = "pyav"
    DECORD = "decord"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class GpuDecoder:
    """A GPU and a build of decord for it. codecs: that the GPU decodes. has_bt709: the build converts all colors as
    BT.709; otherwise as BT.601.
    """

    codecs: tuple[str, ...]
    has_bt709: bool = False


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine works. No option changes which frames are extracted.

    threads: decoder threads. sequential: decodes from the beginning with one thread, whatever `reader` says; for the
    last try of a video that crashed the decoder. max_frames: maximum number of images. gpu: for the reader GPU; None:
    there is no GPU that can be used. preview_seconds: the shortest time between two previews; infinite for none.
    """

    reader: Reader = Reader.AUTO
    threads: int = 1
    sequential: bool = False
    max_frames: int = 1_000_000
    gpu: GpuDecoder | None = None
    preview_seconds: float = math.inf


class DetectingScenes(Struct, frozen=True, tag=True):
    """Scene detection starts. It decodes the video a first time, before the plan is made."""

    media: Media
    frames_to_decode: Count


class Planned(Struct, frozen=True, tag=True):
    """The plan is made; reported once, before the first image. frames_total: images that the archive will hold.
    frames_to_decode: for these images."""

    media: Media
    frames_total: Count
    frames_to_decode: Count


class Progress(Struct, frozen=True, tag=True):
    """frames_done: images that are written. preview_frames: how many of them the newest preview is made of, whose files
    are the `preview_files` of this number; 0 when there is none."""

    frames_done: Count
    preview_frames: Count = 0


ProgressEvent = DetectingScenes | Planned | Progress
OnProgress = Callable[[ProgressEvent], None]


class Split(Struct, frozen=True, tag=True):
    """Instead of a result: the work is too long for one task. The output folder holds plan.json, and the segments cover
    the plan. frames_total: images that the archive will hold."""

    media: Media
    frames_total: Count
    segments: Annotated[tuple[Segment, ...], Meta(min_length=1, max_length=MAX_SEGMENTS)]


class SegmentExtracted(Struct, frozen=True, tag=True):
    """The output folder holds the files of one segment. frames: images in them."""

    frames: Count


@dataclass(frozen=True, slots=True)
class ResultWarning:
    """Something that the owner of a result should know about it. The result is valid all the same."""

    code: str
    detail: str


class EngineMismatch(Struct, frozen=True, tag=True):
    """Instead of a segment or a result: another engine made the plan or a segment, and images of two engines must not
    be mixed. engine: the name of the other one; empty when the file gives none."""

    engine: str


class Extracted(Struct, frozen=True, tag=True):
    """The output folder holds the files of a result. bytes, sha256: of frames.zip."""

    media: Media
    frames: Count
    bytes: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    warnings: Annotated[tuple[ResultWarning, ...], Meta(max_length=100)]


def preview_files(frames: int) -> tuple[str, str]:
    """The names of a preview's contact sheet and of its WebVTT index. frames: images that it is made of."""
    return f"preview-{frames}.jpg", f"preview-{frames}.vtt"


def engine_name(reader: Reader) -> str:
    """Reader and engine version. Together with the video's bytes and the canonical specification, they determine the
    archive."""
    return f"{reader}/{ENGINE_VERSION}"

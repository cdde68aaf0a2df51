"""The protocol between a worker and its decoding child: messages of limited length over a pipe. Pure.

    worker → child   Job, once; the end of the pipe means that the worker has ended
    child → worker   Ready, sometimes DetectingScenes, Planned, Progress …, and at the end Extracted, Split,
                     SegmentExtracted, EngineMismatch or Refused

A message is a 4-byte big-endian length and that many bytes of MessagePack, which can contain infinity and paths that
are not UTF-8. The child reads hostile files, so its messages are checked: an unknown kind, a wrong type, a number out
of bounds, a message over its limit or out of order is a ProtocolError, which counts as a crash.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import MsgspecError, Struct, convert, msgpack

from actors.extraction_types import (
    DetectingScenes,
    EngineMismatch,
    EngineOptions,
    Extracted,
    Planned,
    Progress,
    SegmentExtracted,
    Split,
)
from db.values.error_catalogue import CATALOGUE, Fault
from db.values.segment import Segment

HEADER = struct.Struct(">I")
MAX_JOB_BYTES = 16 << 20
"""A specification may contain 100,000 times."""
MAX_MESSAGE_BYTES = 256 << 10
MAX_TEXT_CHARACTERS = 500
MEMORY_EXIT = 97
"""Exit code of a child that reached its memory limit."""
STORAGE_EXIT = 96
"""Exit code of a child whose results did not fit on the disk."""
CHECKSUM_MISMATCH_EXIT = 95
"""Exit code of a child whose inputs do not match their checksums."""


class ProtocolError(Exception):
    """A message breaks the protocol."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the kernel lets the child use, and for how long the worker waits.

    probe_seconds: wall-clock time until the child reports its work; then it has as long as that work may take.
    seconds_max: wall-clock time in all. uses_gpu: CUDA reserves far more addresses than memory, and opens many files.
    Then the child's writable memory is limited in place of its address space.
    """

    address_space_bytes: int
    cpu_seconds: int
    file_bytes: int
    probe_seconds: float
    seconds_max: float
    uses_gpu: bool = False


class ExtractWork(Struct, frozen=True, tag=True):
    """Extract, or split the plan when the work usually takes more than `max_task_seconds`. segment_engine: name and
    version of the engine that is to make the segments.
    """

    max_task_seconds: float = math.inf
    segment_engine: str = ""


class SegmentWork(Struct, frozen=True, tag=True):
    """Extract one segment of a plan. plan: its plan.json."""

    plan: Path
    segment: Segment


class AssembleWork(Struct, frozen=True, tag=True):
    """Assemble the segments of a plan. segments: the folders with their files, in time order."""

    plan: Path
    segments: tuple[Path, ...]


Work = ExtractWork | SegmentWork | AssembleWork


class Job(Struct, frozen=True):
    """spec: canonical text. out: an empty folder for the results. engine: its name and version, for the result or the
    segments. sha256: of the source; None: the child computes it.
    """

    source: Path
    spec: str
    out: Path
    options: EngineOptions
    limits: Limits
    work: Work = ExtractWork()
    engine: str = ""
    sha256: str | None = None


class Ready(Struct, frozen=True, tag=True):
    """The child has done its imports and waits for its job."""


class Refused(Struct, frozen=True, tag=True):
    """The extraction ended with an error of the catalogue, of fault file or request."""

    code: str
    detail: str


ChildMessage = (
    Ready | DetectingScenes | Planned | Progress | Extracted | Split | SegmentExtracted | EngineMismatch | Refused
)


def length_prefixed(body: bytes) -> bytes:
    """The bytes of a message on the pipe."""
    return HEADER.pack(len(body)) + body


def encode_job(job: Job) -> bytes:
    return length_prefixed(msgpack.encode(job, enc_hook=os.fsencode))


def decode_job(body: bytes) -> Job:
    return msgpack.decode(body, type=Job, dec_hook=_path_of)


def _path_of(_kind: type[Path], name: bytes) -> Path:
    return Path(os.fsdecode(name))


def encode_message(message: ChildMessage) -> bytes:
    return length_prefixed(msgpack.encode(message))


def decode_message(body: bytes) -> ChildMessage:
    """Raises ProtocolError."""
    try:
        message: ChildMessage = convert(_sanitize(msgpack.decode(body)), ChildMessage)
    except (MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not a message: {body[:80]!r}") from error
    match message:
        case Split(frames_total=total, segments=segments) if not _is_partition(segments, total):
            raise ProtocolError("not segments of the plan")
        case Refused(code) if code not in CATALOGUE or CATALOGUE[code].fault is Fault.SERVICE:
            raise ProtocolError(f"not a refusal of the catalogue: {code}")
    return message


class ProtocolChecker:
    """Checks the order of a child's messages: one plan, never more images than it has, and no more in a preview."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._planned_frames = -1

    def check(self, message: ChildMessage) -> None:
        """Raises ProtocolError when this message may not come now."""
        match message:
            case Planned(frames_total=total):
                is_in_order = self._planned_frames < 0 and self._may_plan(total)
                self._planned_frames = total
            case Progress(frames_done=images, preview_frames=shown):
                is_in_order = shown <= images <= self._planned_frames
            case Extracted(frames=images) | SegmentExtracted(frames=images):
                is_in_order = images <= self._planned_frames
            case Split(frames_total=total):
                is_in_order = self._planned_frames < 0 and self._may_plan(total)
            case _:
                is_in_order = not isinstance(message, Ready)
        if not is_in_order:
            raise ProtocolError(f"out of order: {message}")

    def _may_plan(self, images: int) -> bool:
        match self._job.work:
            case SegmentWork(segment=segment):
                return images == segment.stop - segment.first
            case ExtractWork():
                return images <= self._job.options.max_frames
            case AssembleWork():
                return True


def _is_partition(segments: Sequence[Segment], total: int) -> bool:
    """Whether the segments contain each target of the plan once, in the order of their numbers."""
    bounds = [0, *(segment.stop for segment in segments)]
    joined = [segment.first for segment in segments] == bounds[:-1] and bounds[-1] == total
    numbered = [segment.number for segment in segments] == list(range(len(segments)))
    return numbered and joined and all(segment.first < segment.stop for segment in segments)


def _sanitize(value: Any) -> Any:
    """Replaces control characters, which Postgres (NUL) or a log does not take, and cuts texts to one line's length."""
    match value:
        case str():
            return "".join(
                character if character.isprintable() else "\ufffd" for character in value[:MAX_TEXT_CHARACTERS]
            )
        case list():
            return [_sanitize(item) for item in value]
        case dict():
            return {key: _sanitize(item) for key, item in value.items()}
        case _:
            return value

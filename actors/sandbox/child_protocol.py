"""What a worker and its decoding child say to each other over a pipe: length-limited messages. Pure.

    worker → child   Job, once; the end of the pipe means that the worker is gone
    child → worker   Ready, DetectingScenes perhaps, Planned, Progress …, and at the end Extracted, Split,
                     SegmentExtracted, EngineMismatch or Refused

A message is a 4-byte big-endian length and that many bytes of MessagePack, which can hold infinity and paths that are
not UTF-8. The child meets hostile files, so what it says is checked: an unknown kind, a wrong type, a number out of
bounds, a message over its limit or out of order is a ProtocolError, which counts as a crash.
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
JOB_BYTES = 16 << 20
"""A specification may hold 100,000 times."""
ANSWER_BYTES = 256 << 10
TEXT_CHARACTERS = 500
MEMORY_EXIT = 97
"""Exit code of a child that ran into its memory limit."""
STORAGE_EXIT = 96
"""Exit code of a child that found no room for its results."""
CHECKSUM_MISMATCH_EXIT = 95
"""Exit code of a child that was given files which are not what was once stored."""


class ProtocolError(Exception):
    """The other side said something that it can't have meant."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the kernel lets the child use, and for how long the worker waits.

    probe_seconds: wall clock until the child says what work it has; then it has as long as that work may take.
    seconds_max: wall clock in all.
    """

    address_space_bytes: int
    cpu_seconds: int
    file_bytes: int
    probe_seconds: float
    seconds_max: float


class Whole(Struct, frozen=True, tag=True):
    """Extract, or split the plan when the work usually takes more than `longest` seconds."""

    longest: float = math.inf


class OneSegment(Struct, frozen=True, tag=True):
    """Carry out one segment of a plan. plan: its plan.json."""

    plan: Path
    segment: Segment


class Assembly(Struct, frozen=True, tag=True):
    """Join the segments of a plan. segments: the folders of their files, in time order."""

    plan: Path
    segments: tuple[Path, ...]


Work = Whole | OneSegment | Assembly


class Job(Struct, frozen=True):
    """spec: canonical text. out: an empty folder for the results. engine: under whose name the result will stand; plan
    and segments carry it."""

    source: Path
    spec: str
    out: Path
    options: EngineOptions
    limits: Limits
    work: Work = Whole()
    engine: str = ""


class Ready(Struct, frozen=True, tag=True):
    """The child has done its imports and waits for its job."""


class Refused(Struct, frozen=True, tag=True):
    """The extraction ended with an error of the catalogue, of fault file or request."""

    code: str
    detail: str


ChildMessage = (
    Ready | DetectingScenes | Planned | Progress | Extracted | Split | SegmentExtracted | EngineMismatch | Refused
)


def frame(body: bytes) -> bytes:
    """A message's bytes on the pipe."""
    return HEADER.pack(len(body)) + body


def encode_job(job: Job) -> bytes:
    return frame(msgpack.encode(job, enc_hook=os.fsencode))


def decode_job(body: bytes) -> Job:
    return msgpack.decode(body, type=Job, dec_hook=_path_of)


def _path_of(_kind: type[Path], name: bytes) -> Path:
    return Path(os.fsdecode(name))


def encode_answer(answer: ChildMessage) -> bytes:
    return frame(msgpack.encode(answer))


def decode_answer(body: bytes) -> ChildMessage:
    """Raises ProtocolError."""
    try:
        answer: ChildMessage = convert(_printable(msgpack.decode(body)), ChildMessage)
    except (MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not an answer: {body[:80]!r}") from error
    match answer:
        case Split(frames_total=total, segments=segments) if not _cover(segments, total):
            raise ProtocolError("not segments of the plan")
        case Refused(code) if code not in CATALOGUE or CATALOGUE[code].fault is Fault.SERVICE:
            raise ProtocolError(f"not a refusal of the catalogue: {code}")
    return answer


class Conversation:
    """What the child of a job may say next: its plan once, and never more images than that."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._planned = -1

    def check(self, answer: ChildMessage) -> None:
        """Raises ProtocolError when the answer is out of place."""
        match answer:
            case Planned(frames_total=total):
                in_place = self._planned < 0 and self._may_plan(total)
                self._planned = total
            case Progress(frames_done=images) | Extracted(frames=images) | SegmentExtracted(frames=images):
                in_place = images <= self._planned
            case Split(frames_total=total):
                in_place = self._planned < 0 and self._may_plan(total)
            case _:
                in_place = not isinstance(answer, Ready)
        if not in_place:
            raise ProtocolError(f"out of place: {answer}")

    def _may_plan(self, images: int) -> bool:
        match self._job.work:
            case OneSegment(segment=segment):
                return images == segment.stop - segment.first
            case Whole():
                return images <= self._job.options.max_frames
            case Assembly():
                return True


def _cover(segments: Sequence[Segment], total: int) -> bool:
    """Whether they hold each target of the plan once, in the order of their numbers."""
    bounds = [0, *(segment.stop for segment in segments)]
    joined = [segment.first for segment in segments] == bounds[:-1] and bounds[-1] == total
    numbered = [segment.number for segment in segments] == list(range(len(segments)))
    return numbered and joined and all(segment.first < segment.stop for segment in segments)


def _printable(value: Any) -> Any:
    """Without what Postgres (NUL) or a log (control characters) does not take; texts cut to a line's length."""
    match value:
        case str():
            return "".join(character if character.isprintable() else "\ufffd" for character in value[:TEXT_CHARACTERS])
        case list():
            return [_printable(item) for item in value]
        case dict():
            return {key: _printable(item) for key, item in value.items()}
        case _:
            return value

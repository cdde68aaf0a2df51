"""What a worker and its decoding child say to each other over a pipe: length-limited JSON messages. Pure.

    worker → child   Job, once; the end of the pipe means that the worker is gone
    child → worker   Ready, Scanning perhaps, Planned, Progress …, and at the end Extracted, Split, PartMade,
                     OtherEngine or Refused

A message is a 4-byte big-endian length and that many bytes of UTF-8 JSON. The child meets hostile files, so what it
says is checked: an unknown kind, a wrong type or a message over its limit is a ProtocolError, which counts as a crash.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from actors.extraction_types import (
    MAX_PORTIONS,
    Extracted,
    Options,
    OtherEngine,
    PartMade,
    Planned,
    Portion,
    Progress,
    Reader,
    ResultWarning,
    Scanning,
    Split,
)
from db.values.error_catalogue import CATALOGUE, Fault
from db.values.media_info import Media

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


@dataclass(frozen=True, slots=True)
class Whole:
    """Extract, or plan for parts when the work usually takes more than `longest` seconds."""

    longest: float = math.inf


@dataclass(frozen=True, slots=True)
class PartOf:
    """Carry out one portion of a plan. plan: its plan.json."""

    plan: Path
    portion: Portion


@dataclass(frozen=True, slots=True)
class Assembly:
    """Join the parts of a plan. parts: the folders of their files, in time order."""

    plan: Path
    parts: tuple[Path, ...]


Work = Whole | PartOf | Assembly


@dataclass(frozen=True, slots=True)
class Job:
    """spec: canonical text. out: an empty folder for the results. engine: under whose name the result will stand; plan
    and parts carry it."""

    source: Path
    spec: str
    out: Path
    options: Options
    limits: Limits
    work: Work = field(default_factory=Whole)
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """The child has done its imports and waits for its job."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The extraction ended with an error of the catalogue, of fault file or request."""

    code: str
    detail: str


ChildMessage = Ready | Scanning | Planned | Progress | Extracted | Split | PartMade | OtherEngine | Refused


def frame(body: bytes) -> bytes:
    """A message's bytes on the pipe."""
    return HEADER.pack(len(body)) + body


def encode_job(job: Job) -> bytes:
    options = asdict(job.options) | {"reader": str(job.options.reader)}
    fields = {
        "source": str(job.source),
        "spec": job.spec,
        "out": str(job.out),
        "options": options,
        "limits": asdict(job.limits),
        "work": {"kind": type(job.work).__name__, **asdict(job.work)},
        "engine": job.engine,
    }
    return frame(json.dumps(fields, default=str).encode())


def decode_job(body: bytes) -> Job:
    fields = json.loads(body)
    options = fields["options"]
    return Job(
        source=Path(fields["source"]),
        spec=fields["spec"],
        out=Path(fields["out"]),
        options=Options(**options | {"reader": Reader(options["reader"])}),
        limits=Limits(**fields["limits"]),
        work=_work_of(fields["work"]),
        engine=fields["engine"],
    )


def _work_of(fields: dict[str, Any]) -> Work:
    match fields:
        case {"kind": "Whole", "longest": longest}:
            return Whole(longest)
        case {"kind": "PartOf", "plan": plan, "portion": portion}:
            return PartOf(Path(plan), Portion(**portion))
        case {"kind": "Assembly", "plan": plan, "parts": parts}:
            return Assembly(Path(plan), tuple(map(Path, parts)))
        case _:
            raise ValueError(fields)


def encode_answer(answer: ChildMessage) -> bytes:
    return frame(json.dumps({"kind": type(answer).__name__, **asdict(answer)}).encode())


def decode_answer(body: bytes) -> ChildMessage:
    """Raises ProtocolError."""
    try:
        fields = json.loads(body)
        return _answer_of(fields.pop("kind"), fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ProtocolError(f"not an answer: {body[:80]!r}") from error


def _answer_of(kind: str, fields: dict[str, Any]) -> ChildMessage:
    match kind:
        case "Ready":
            return Ready()
        case "Planned":
            return Planned(
                media=_media(fields["media"]),
                frames_total=_count(fields["frames_total"]),
                frames_to_decode=_count(fields["frames_to_decode"]),
            )
        case "Scanning":
            return Scanning(media=_media(fields["media"]), frames_to_decode=_count(fields["frames_to_decode"]))
        case "Progress":
            return Progress(frames_done=_count(fields["frames_done"]))
        case "Extracted":
            return Extracted(
                media=_media(fields["media"]),
                frames=_count(fields["frames"]),
                bytes=_count(fields["bytes"]),
                sha256=_text(fields["sha256"]),
                warnings=tuple(ResultWarning(_text(w["code"]), _text(w["detail"])) for w in fields["warnings"][:100]),
            )
        case "Split":
            total = _count(fields["frames_total"])
            return Split(_media(fields["media"]), total, _portions(fields["portions"], total))
        case "PartMade":
            return PartMade(frames=_count(fields["frames"]))
        case "OtherEngine":
            return OtherEngine(made_by=_text(fields["made_by"]))
        case "Refused":
            return Refused(_refusal(fields["code"]), _text(fields["detail"]))
        case _:
            raise ValueError(kind)


def _media(fields: dict[str, Any]) -> Media:
    numbers = {name: fields[name] for name in ("width", "height", "rotation", "frames")}
    return Media(
        container=_text(fields["container"]),
        codec=_text(fields["codec"]),
        duration=float(fields["duration"]),
        fps_average=float(fields["fps_average"]),
        variable_frame_rate=bool(fields["variable_frame_rate"]),
        **{name: _count(value) for name, value in numbers.items()},
    )


def _portions(fields: list[dict[str, Any]], total: int) -> tuple[Portion, ...]:
    """They must cover the plan, each target once."""
    portions = tuple(Portion(**{name: _count(value) for name, value in one.items()}) for one in fields)
    bounds = [0, *(portion.stop for portion in portions)]
    is_cover = [portion.first for portion in portions] == bounds[:-1] and bounds[-1] == total
    if not (is_cover and len(portions) <= MAX_PORTIONS and all(one.first < one.stop for one in portions)):
        raise ValueError("not portions of the plan")
    return portions


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("not a count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    # Postgres takes no NUL, a log no control characters.
    return "".join(character if character.isprintable() else "�" for character in value[:TEXT_CHARACTERS])


def _refusal(code: object) -> str:
    if not isinstance(code, str) or code not in CATALOGUE or CATALOGUE[code].fault is Fault.SERVICE:
        raise ValueError("not a refusal of the catalogue")
    return code

"""The frame specification: which frames a user asks for, as an exact value.

JSON numbers are read as decimal text and become `Fraction`s, so that no float decides which frame is meant. `canonical`
returns the one text of a specification with its defaults; equal specifications have equal texts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, assert_never

from db.values.exact_json import Fields, between, choice, decimal_of, decode, encode, invalid, optional, shortest, whole

MAX_TIMESTAMPS = 100_000
MAX_COUNT = 10**9
MAX_SIDE = 65_535
MAX_SECONDS = Decimal(10) ** 9
MIN_STEP = Decimal(10) ** -9


class ImageFormat(StrEnum):
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"


class ImageNames(StrEnum):
    """What the name of an image in the archive tells: its number and its time, its number alone, or its index."""

    TIME = "time"
    NUMBER = "number"
    INDEX = "index"


class Snap(StrEnum):
    EXACT = "exact"
    KEYFRAME = "keyframe"


@dataclass(frozen=True, slots=True)
class Fps:
    fps: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True)
class Interval:
    seconds: Fraction


@dataclass(frozen=True, slots=True)
class Uniform:
    count: int


@dataclass(frozen=True, slots=True)
class Timestamps:
    """at: seconds, ascending, each once."""

    at: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class EveryNth:
    n: int


@dataclass(frozen=True, slots=True)
class Keyframes:
    pass


@dataclass(frozen=True, slots=True)
class Scenes:
    threshold: Fraction = Fraction(27)


@dataclass(frozen=True, slots=True)
class AllFrames:
    pass


Sample = Fps | Interval | Uniform | Timestamps | EveryNth | Keyframes | Scenes | AllFrames


@dataclass(frozen=True, slots=True)
class Range:
    """Seconds from the first displayed frame; end is exclusive, None for the video's own end."""

    start: Fraction = Fraction(0)
    end: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """quality: 1–100. max_side: pixels of the longer displayed side at most, None for no limit."""

    format: ImageFormat = ImageFormat.JPEG
    quality: int = 90
    max_side: int | None = None
    names: ImageNames = ImageNames.TIME


@dataclass(frozen=True, slots=True)
class FrameSpec:
    sample: Sample = field(default_factory=Fps)
    range: Range = field(default_factory=Range)
    image: Image = field(default_factory=Image)
    snap: Snap = Snap.EXACT
    max_frames: int | None = None


def parse(text: str | bytes) -> FrameSpec:
    """Reads a specification from JSON text.

    Raises CatalogueError `malformed_request` (not JSON) or `invalid_spec` (the detail names the field).
    """
    return from_document(decode(text))


def from_document(value: object) -> FrameSpec:
    """Reads a specification from a JSON object whose numbers are `Decimal` or `int`.

    Raises CatalogueError `invalid_spec`; the detail names the field.
    """
    top = Fields("spec", value)
    spec = FrameSpec(
        sample=_sample(top.pop("sample", {"mode": "fps"})),
        range=_range(top.pop("range", {})),
        image=_image(top.pop("image", {})),
        snap=choice("snap", Snap, top.pop("snap", Snap.EXACT)),
        max_frames=optional("max_frames", top.pop("max_frames", None), whole(1, MAX_COUNT)),
    )
    top.finish()
    return spec


def document(spec: FrameSpec) -> dict[str, Any]:
    """Returns the specification as a JSON object with its defaults; numbers that are not whole are `Decimal`."""
    return {
        "sample": _sample_document(spec.sample),
        "range": {
            "start": shortest(spec.range.start),
            "end": None if spec.range.end is None else shortest(spec.range.end),
        },
        "image": {
            "format": spec.image.format.value,
            "quality": spec.image.quality,
            "max_side": spec.image.max_side,
            "names": spec.image.names.value,
        },
        "snap": spec.snap.value,
        "max_frames": spec.max_frames,
    }


def canonical(spec: FrameSpec) -> str:
    """Returns the one JSON text of a specification: fixed order, no spaces, shortest plain decimals."""
    return encode(document(spec))


def _sample_document(sample: Sample) -> dict[str, Any]:
    match sample:
        case Fps(fps):
            return {"mode": "fps", "fps": shortest(fps)}
        case Interval(seconds):
            return {"mode": "interval", "seconds": shortest(seconds)}
        case Uniform(count):
            return {"mode": "uniform", "count": count}
        case Timestamps(at):
            return {"mode": "timestamps", "at": [shortest(time) for time in at]}
        case EveryNth(n):
            return {"mode": "every_nth", "n": n}
        case Keyframes():
            return {"mode": "keyframes"}
        case Scenes(threshold):
            return {"mode": "scenes", "threshold": shortest(threshold)}
        case AllFrames():
            return {"mode": "all"}
        case _:
            assert_never(sample)


def _sample(value: object) -> Sample:
    fields = Fields("sample", value)
    sample = _sample_of(fields.pop("mode", "fps"), fields)
    fields.finish()
    return sample


def _sample_of(mode: object, fields: Fields) -> Sample:
    match mode:
        case "fps":
            return Fps(_positive("sample.fps", fields.pop("fps", 1)))
        case "interval":
            return Interval(_positive("sample.seconds", fields.require("seconds")))
        case "uniform":
            return Uniform(whole(1, MAX_COUNT)("sample.count", fields.require("count")))
        case "timestamps":
            return Timestamps(_times("sample.at", fields.require("at")))
        case "every_nth":
            return EveryNth(whole(1, MAX_COUNT)("sample.n", fields.require("n")))
        case "keyframes":
            return Keyframes()
        case "scenes":
            return Scenes(between("sample.threshold", fields.pop("threshold", 27), 0, 100))
        case "all":
            return AllFrames()
        case _:
            raise invalid("sample.mode", "is not a sample mode")


def _range(value: object) -> Range:
    fields = Fields("range", value)
    start = between("range.start", fields.pop("start", 0), 0, MAX_SECONDS)
    end = optional("range.end", fields.pop("end", None), lambda name, raw: between(name, raw, 0, MAX_SECONDS))
    fields.finish()
    if end is not None and end <= start:
        raise invalid("range.end", "must be greater than range.start")
    return Range(start, end)


def _image(value: object) -> Image:
    fields = Fields("image", value)
    image = Image(
        format=choice("image.format", ImageFormat, fields.pop("format", ImageFormat.JPEG)),
        quality=whole(1, 100)("image.quality", fields.pop("quality", 90)),
        max_side=optional("image.max_side", fields.pop("max_side", None), whole(16, MAX_SIDE)),
        names=choice("image.names", ImageNames, fields.pop("names", ImageNames.TIME)),
    )
    fields.finish()
    return image


def _positive(name: str, value: object) -> Fraction:
    number = decimal_of(name, value)
    if number <= 0:
        raise invalid(name, "must be greater than 0")
    return between(name, number, MIN_STEP, MAX_SECONDS)


def _times(name: str, value: object) -> tuple[Fraction, ...]:
    if not isinstance(value, list) or not value:
        raise invalid(name, "must be a list with at least one time in seconds")
    if len(value) > MAX_TIMESTAMPS:
        raise invalid(name, f"must have at most {MAX_TIMESTAMPS} times")
    return tuple(sorted({between(f"{name}[{i}]", raw, -MAX_SECONDS, MAX_SECONDS) for i, raw in enumerate(value)}))

"""The frame specification: what was asked, as an exact value.

JSON numbers are read as their decimal text and become `Fraction`s, so that no float ever decides which frame it is.
`canonical` gives the one text of a specification, defaults filled in; equal specifications have equal texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation, localcontext
from enum import StrEnum
from fractions import Fraction
from typing import Any, TypeVar, assert_never

from db.errors import FotogramaError

MAX_TIMESTAMPS = 100_000
MAX_COUNT = 10**9
MAX_SIDE = 65_535
# A number's text is bounded before it becomes a Fraction: 1e999999999 would fill the memory.
MAX_DIGITS = 40
MAX_SECONDS = Decimal(10) ** 9
MIN_STEP = Decimal(10) ** -9

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class ImageFormat(StrEnum):
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"


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


@dataclass(frozen=True, slots=True)
class FrameSpec:
    sample: Sample = field(default_factory=Fps)
    range: Range = field(default_factory=Range)
    image: Image = field(default_factory=Image)
    snap: Snap = Snap.EXACT
    max_frames: int | None = None


def parse(text: str | bytes) -> FrameSpec:
    """Reads a specification from JSON text.

    Raises FotogramaError `malformed_request` (not JSON) or `invalid_spec` (the detail names the field).
    """
    try:
        value = json.loads(text, parse_float=_bounded, parse_int=_bounded, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FotogramaError("malformed_request", "The specification is not well-formed JSON.") from error
    return from_document(value)


def from_document(value: object) -> FrameSpec:
    """Reads a specification from a JSON object whose numbers are `Decimal` or `int`.

    Raises FotogramaError `invalid_spec`; the detail names the field.
    """
    top = _Object("spec", value)
    spec = FrameSpec(
        sample=_sample(top.pop("sample", {"mode": "fps"})),
        range=_range(top.pop("range", {})),
        image=_image(top.pop("image", {})),
        snap=_choice("snap", Snap, top.pop("snap", Snap.EXACT)),
        max_frames=_optional("max_frames", top.pop("max_frames", None), _whole(1, MAX_COUNT)),
    )
    top.finish()
    return spec


def document(spec: FrameSpec) -> dict[str, Any]:
    """The specification as a JSON object, defaults filled in; numbers that are not whole are `Decimal`."""
    return {
        "sample": _sample_document(spec.sample),
        "range": {
            "start": _number(spec.range.start),
            "end": None if spec.range.end is None else _number(spec.range.end),
        },
        "image": {
            "format": spec.image.format.value,
            "quality": spec.image.quality,
            "max_side": spec.image.max_side,
        },
        "snap": spec.snap.value,
        "max_frames": spec.max_frames,
    }


def canonical(spec: FrameSpec) -> str:
    """The one JSON text of a specification: fixed order, no spaces, shortest plain decimals."""
    return _encode(document(spec))


def _sample_document(sample: Sample) -> dict[str, Any]:
    match sample:
        case Fps(fps):
            return {"mode": "fps", "fps": _number(fps)}
        case Interval(seconds):
            return {"mode": "interval", "seconds": _number(seconds)}
        case Uniform(count):
            return {"mode": "uniform", "count": count}
        case Timestamps(at):
            return {"mode": "timestamps", "at": [_number(time) for time in at]}
        case EveryNth(n):
            return {"mode": "every_nth", "n": n}
        case Keyframes():
            return {"mode": "keyframes"}
        case Scenes(threshold):
            return {"mode": "scenes", "threshold": _number(threshold)}
        case AllFrames():
            return {"mode": "all"}
        case _:
            assert_never(sample)


def _sample(value: object) -> Sample:
    fields = _Object("sample", value)
    sample = _sample_of(fields.pop("mode", "fps"), fields)
    fields.finish()
    return sample


def _sample_of(mode: object, fields: _Object) -> Sample:
    match mode:
        case "fps":
            return Fps(_positive("sample.fps", fields.pop("fps", 1)))
        case "interval":
            return Interval(_positive("sample.seconds", fields.require("seconds")))
        case "uniform":
            return Uniform(_whole(1, MAX_COUNT)("sample.count", fields.require("count")))
        case "timestamps":
            return Timestamps(_times("sample.at", fields.require("at")))
        case "every_nth":
            return EveryNth(_whole(1, MAX_COUNT)("sample.n", fields.require("n")))
        case "keyframes":
            return Keyframes()
        case "scenes":
            return Scenes(_between("sample.threshold", fields.pop("threshold", 27), 0, 100))
        case "all":
            return AllFrames()
        case _:
            raise _invalid("sample.mode", "is not a sample mode")


def _range(value: object) -> Range:
    fields = _Object("range", value)
    start = _between("range.start", fields.pop("start", 0), 0, MAX_SECONDS)
    end = _optional("range.end", fields.pop("end", None), lambda name, raw: _between(name, raw, 0, MAX_SECONDS))
    fields.finish()
    if end is not None and end <= start:
        raise _invalid("range.end", "must be greater than range.start")
    return Range(start, end)


def _image(value: object) -> Image:
    fields = _Object("image", value)
    image = Image(
        format=_choice("image.format", ImageFormat, fields.pop("format", ImageFormat.JPEG)),
        quality=_whole(1, 100)("image.quality", fields.pop("quality", 90)),
        max_side=_optional("image.max_side", fields.pop("max_side", None), _whole(16, MAX_SIDE)),
    )
    fields.finish()
    return image


class _Object:
    """A JSON object whose fields are taken one by one; what is left over at the end is unknown."""

    def __init__(self, name: str, value: object) -> None:
        if not isinstance(value, Mapping):
            raise _invalid(name, "must be an object")
        self._name, self._rest = name, dict(value)

    def pop(self, key: str, default: object) -> object:
        return self._rest.pop(key, default)

    def require(self, key: str) -> object:
        if key not in self._rest:
            raise _invalid(f"{self._name}.{key}", "is required by this mode")
        return self._rest.pop(key)

    def finish(self) -> None:
        if self._rest:
            raise _invalid(f"{self._name}.{next(iter(self._rest))!s:.40}", "is not a known field")


def _optional(name: str, value: object, read: Callable[[str, object], T]) -> T | None:
    return None if value is None else read(name, value)


def _choice(name: str, choices: type[E], value: object) -> E:
    if isinstance(value, str) and value in {choice.value for choice in choices}:
        return choices(value)
    raise _invalid(name, f"must be one of {', '.join(choices)}")


def _decimal(name: str, value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _invalid(name, "must be a number")
    number = Decimal(value)
    if not number.is_finite():
        raise _invalid(name, "must be finite")
    if len(number.as_tuple().digits) > MAX_DIGITS or (number and abs(number.adjusted()) > MAX_DIGITS):
        raise _invalid(name, f"must have at most {MAX_DIGITS} digits")
    return number


def _between(name: str, value: object, least: Decimal | int, most: Decimal | int) -> Fraction:
    number = _decimal(name, value)
    if not least <= number <= most:
        raise _invalid(name, f"must be from {least} to {most}")
    return Fraction(number)


def _positive(name: str, value: object) -> Fraction:
    number = _decimal(name, value)
    if number <= 0:
        raise _invalid(name, "must be greater than 0")
    return _between(name, number, MIN_STEP, MAX_SECONDS)


def _whole(least: int, most: int) -> Callable[[str, object], int]:
    def read(name: str, value: object) -> int:
        number = _between(name, value, least, most)
        if number.denominator != 1:
            raise _invalid(name, "must be a whole number")
        return number.numerator

    return read


def _times(name: str, value: object) -> tuple[Fraction, ...]:
    if not isinstance(value, list) or not value:
        raise _invalid(name, "must be a list with at least one time in seconds")
    if len(value) > MAX_TIMESTAMPS:
        raise _invalid(name, f"must have at most {MAX_TIMESTAMPS} times")
    return tuple(sorted({_between(f"{name}[{i}]", raw, -MAX_SECONDS, MAX_SECONDS) for i, raw in enumerate(value)}))


def _bounded(text: str) -> Decimal:
    # A huge exponent is not even a Decimal.
    with localcontext() as context:
        context.traps[InvalidOperation] = False
        return Decimal(text) if len(text) <= 2 * MAX_DIGITS else Decimal("NaN")


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not a JSON number")


def _number(value: Fraction) -> int | Decimal:
    if value.denominator == 1:
        return value.numerator
    # Every Fraction here came from a decimal text, so the power of ten is the larger power of 2 or 5.
    digits = 0
    while (10**digits) % value.denominator:
        digits += 1
    return Decimal(f"{value.numerator * (10**digits // value.denominator)}e-{digits}")


def _encode(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_encode, value)) + "]"
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value)


def _invalid(name: str, what: str) -> FotogramaError:
    return FotogramaError("invalid_spec", f"{name} {what}.")

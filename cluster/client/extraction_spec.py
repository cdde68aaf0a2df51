"""The frame specification as a user writes it, and its JSON text, in which decimals keep every digit.

This module has only the types. `db.values.frame_spec` has the defaults and the bounds, for the server and the engine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Literal, NotRequired, TypedDict

from cluster.client.errors import InvalidSpec

Number = int | float | Decimal
"""A float means the decimal that Python prints for it: 0.1 is a tenth."""


class FpsSample(TypedDict):
    """The frame on screen at start + k/fps."""

    mode: Literal["fps"]
    fps: NotRequired[Number]


class IntervalSample(TypedDict):
    """The frame on screen every so many seconds."""

    mode: Literal["interval"]
    seconds: Number


class UniformSample(TypedDict):
    """The frame on screen in the middle of each of `count` equal parts."""

    mode: Literal["uniform"]
    count: int


class TimestampsSample(TypedDict):
    """The frame on screen at each time, in seconds."""

    mode: Literal["timestamps"]
    at: Sequence[Number]


class EveryNthSample(TypedDict):
    """Every n-th displayed frame."""

    mode: Literal["every_nth"]
    n: int


class ScenesSample(TypedDict):
    """The first frame of every shot. threshold: from 0 to 100."""

    mode: Literal["scenes"]
    threshold: NotRequired[Number]


class WholeSample(TypedDict):
    """Every key frame, or every displayed frame."""

    mode: Literal["keyframes", "all"]


Sample = FpsSample | IntervalSample | UniformSample | TimestampsSample | EveryNthSample | ScenesSample | WholeSample


class Range(TypedDict, total=False):
    """Seconds from the first displayed frame. end: exclusive, None for the end of the video."""

    start: Number
    end: Number | None


class Image(TypedDict, total=False):
    """quality: from 1 to 100. max_side: pixels of the longer side at most, None for no limit. names: what the name of
    an image tells: its number and time, its number alone, or the index of its frame in the video."""

    format: Literal["jpeg", "png", "webp"]
    quality: int
    max_side: int | None
    names: Literal["time", "number", "index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionSpec:
    """Which frames of a video, and as which images. A field that is None has the default of the service.

        >>> spec = ExtractionSpec(sample={"mode": "uniform", "count": 20}, image={"format": "png", "max_side": 640})
        >>> client.upload(clip, spec).extraction.spec["sample"]["count"]
        20

    fps: short for `sample={"mode": "fps", "fps": fps}`. snap: "keyframe" takes the nearest key frame instead.
    max_frames: images at most. Raises InvalidSpec when both `fps` and `sample` are given.
    """

    fps: Number | None = None
    sample: Sample | None = None
    range: Range | None = None
    image: Image | None = None
    snap: Literal["exact", "keyframe"] | None = None
    max_frames: int | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and self.sample is not None:
            raise InvalidSpec("give fps or sample, not both")

    def document(self) -> dict[str, Any]:
        """The specification as the API takes it, without the fields that are None."""
        fields_set = {field.name: getattr(self, field.name) for field in fields(self)}
        fields_set = {name: value for name, value in fields_set.items() if value is not None}
        if "fps" in fields_set:
            fields_set["sample"] = {"mode": "fps", "fps": fields_set.pop("fps")}
        return fields_set


_SAMPLE_DEFAULTS: Mapping[str, dict[str, Any]] = {"fps": {"fps": 1}, "scenes": {"threshold": 27}}
_DEFAULTS: Mapping[str, Any] = {
    "sample": {"mode": "fps"},
    "range": {"start": 0, "end": None},
    "image": {"format": "jpeg", "quality": 90, "max_side": None, "names": "time"},
    "snap": "exact",
    "max_frames": None,
}

Spec = ExtractionSpec | Mapping[str, Any] | str
"""A specification, the same as a JSON object, or its JSON text."""


def spec_text(spec: Spec) -> str:
    """Returns JSON text. Raises InvalidSpec for text that is not JSON, for NaN, and for values that JSON can't hold."""
    try:
        if isinstance(spec, str):
            json.loads(spec)
            return spec
        return _encode(spec.document() if isinstance(spec, ExtractionSpec) else spec)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidSpec(f"The specification can't be written as JSON: {error}.") from error


def is_same_spec(text: str | None, canonical: Mapping[str, Any]) -> bool:
    """Whether the text (None: all defaults) certainly means the specification that the service returned.

    A field that this client does not know makes them different.
    """
    given = json.loads(text or "{}", parse_float=Decimal)
    return isinstance(given, dict) and _with_defaults(given) == _with_defaults(
        json.loads(_encode(canonical), parse_float=Decimal)
    )


def _with_defaults(document: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the defaults to a specification. Numbers stay exact."""
    complete = {**_DEFAULTS, **document}
    for part in ("range", "image"):
        complete[part] = {**_DEFAULTS[part], **(document.get(part) or {})}
    sample = complete["sample"]
    if isinstance(sample, dict):
        complete["sample"] = {**_SAMPLE_DEFAULTS.get(str(sample.get("mode")), {}), **sample}
    return complete


def _encode(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(key))}:{_encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_encode, value)) + "]"
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    return json.dumps(value, allow_nan=False)

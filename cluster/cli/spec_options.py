"""The options that say which frames are wanted, and the specification that they mean. Numbers keep every digit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, get_type_hints

import typer

Mode = Literal["fps", "interval", "uniform", "timestamps", "every_nth", "keyframes", "scenes", "all"]
OPTION_OF_FIELD = {
    "sample.mode": "--mode",
    "sample.fps": "--fps",
    "sample.seconds": "--every",
    "sample.n": "--every",
    "sample.count": "--count",
    "sample.at": "--at",
    "sample.threshold": "--threshold",
    "range.start": "--range",
    "range.end": "--range",
    "image.quality": "--quality",
    "image.max_side": "--max-side",
    "max_frames": "--max-frames",
}
"""The option that sets a field of the specification, to name it in a message."""
_NEEDED = {
    "interval": "--mode interval needs --every, such as --every 5s.",
    "every_nth": "--mode every_nth needs --every, such as --every 10f.",
    "uniform": "--mode uniform needs --count, such as --count 20.",
    "timestamps": "--mode timestamps needs --at, such as --at 1.5,10,1:30.",
}
_UNITS = (("", "1"), ("ms", "0.001"), ("s", "1"), ("m", "60"), ("min", "60"), ("h", "3600"))
_UNIT_SECONDS = {unit: Decimal(seconds) for unit, seconds in _UNITS}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecOptions:
    """The options as they were typed; None where one was not given."""

    mode: Annotated[Mode | None, typer.Option(help="Which frames; the options below choose a mode by themselves.")] = (
        None
    )
    fps: Annotated[str | None, typer.Option(metavar="NUMBER", help="Frames a second (the default is 1).")] = None
    every: Annotated[
        str | None, typer.Option(metavar="5s|10f", help="One frame every 5 seconds, or every 10th frame.")
    ] = None
    count: Annotated[int | None, typer.Option(help="The number of frames, at equal distances.")] = None
    at: Annotated[
        str | None, typer.Option(metavar="TIME,...", help="The frames at these times, such as 1.5,10,1:30.")
    ] = None
    threshold: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="First frames of shots; 0 to 100, usually 27.")
    ] = None
    range: Annotated[
        str | None, typer.Option(metavar="START-END", help="Only this part, such as 10-20, 1:30- or -90.")
    ] = None
    format: Annotated[Literal["jpeg", "png", "webp"] | None, typer.Option(help="Format of the images.")] = None
    quality: Annotated[int | None, typer.Option(help="Quality of JPEG and WebP, 1 to 100.")] = None
    names: Annotated[
        Literal["time", "number", "index"] | None,
        typer.Option(help="What stands in the images' names: number and time, number, or frame number of the video."),
    ] = None
    max_side: Annotated[int | None, typer.Option(help="Pixels of the longer side at most.")] = None
    snap: Annotated[
        Literal["exact", "keyframe"] | None, typer.Option(help="keyframe: the nearest key frame, far cheaper.")
    ] = None
    max_frames: Annotated[int | None, typer.Option(help="Images at most.")] = None
    spec: Annotated[
        str | None, typer.Option(metavar="JSON", help="A whole frame specification, or @FILE to read it from.")
    ] = None
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="A specification saved by `fotograma presets save`.")
    ] = None

    def given(self) -> list[str]:
        """Returns the options that were given."""
        return [f"--{each.name.replace('_', '-')}" for each in fields(self) if getattr(self, each.name) is not None]


def with_spec_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command, instead of its parameter `options: SpecOptions`, an option for each field."""
    own = signature(command, eval_str=True)
    annotations = get_type_hints(SpecOptions, include_extras=True)

    def run(**arguments: Any) -> None:
        options = {each.name: arguments.pop(each.name) for each in fields(SpecOptions)}
        command(**arguments, options=SpecOptions(**options))

    parameters = [each for name, each in own.parameters.items() if name != "options"]
    spec_parameters = [
        Parameter(each.name, Parameter.KEYWORD_ONLY, default=None, annotation=annotations[each.name])
        for each in fields(SpecOptions)
    ]
    first = next((i for i, each in enumerate(parameters) if each.kind is Parameter.KEYWORD_ONLY), len(parameters))
    parameters[first:first] = spec_parameters
    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    run.__dict__["__signature__"] = own.replace(parameters=parameters)
    return run


def spec_document(options: SpecOptions, *, saved: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the specification that the options mean, without defaults. saved: what they change.

    Raises typer.BadParameter, which names the option and what would be right.
    """
    document = dict(saved or {})
    sample = _sample(options)
    if sample is not None:
        document["sample"] = sample
    if options.range is not None:
        start, end = _range(options.range)
        document["range"] = {**({"start": start} if start is not None else {}), "end": end}
    image = {"format": options.format, "quality": options.quality, "max_side": options.max_side, "names": options.names}
    image = {name: value for name, value in image.items() if value is not None}
    if image:
        document["image"] = {**document.get("image", {}), **image}
    if options.snap is not None:
        document["snap"] = options.snap
    if options.max_frames is not None:
        document["max_frames"] = options.max_frames
    return document


def _sample(options: SpecOptions) -> dict[str, Any] | None:
    samples = {
        "--fps": None if options.fps is None else {"mode": "fps", "fps": _number(options.fps, "--fps")},
        "--every": None if options.every is None else _every(options.every, options.mode),
        "--count": None if options.count is None else {"mode": "uniform", "count": options.count},
        "--at": None if options.at is None else {"mode": "timestamps", "at": _times(options.at)},
        "--threshold": (
            None
            if options.threshold is None
            else {"mode": "scenes", "threshold": _number(options.threshold, "--threshold")}
        ),
    }
    chosen = {option: sample for option, sample in samples.items() if sample is not None}
    if len(chosen) > 1:
        raise typer.BadParameter(f"{' and '.join(chosen)} choose different frames. Give one of them.")
    if not chosen:
        if options.mode in _NEEDED:
            raise typer.BadParameter(_NEEDED[options.mode], param_hint="--mode")
        return None if options.mode is None else {"mode": options.mode}
    (option, sample), *_ = chosen.items()
    if options.mode not in {None, sample["mode"]}:
        raise typer.BadParameter(
            f"{option} belongs to --mode {sample['mode']}, not to --mode {options.mode}. Leave one of them out."
        )
    return sample


def _every(text: str, mode: str | None) -> dict[str, Any]:
    found = re.fullmatch(r"([0-9]+)(f|frames?|th|st|nd|rd)?", text.strip())
    if found and (found[2] or mode == "every_nth"):
        return {"mode": "every_nth", "n": int(found[1])}
    if found and mode != "interval":
        raise typer.BadParameter(
            f"{text!r} can be seconds or frames. Write {text}s for every {text} seconds, or {text}f for every "
            f"{text}th frame.",
            param_hint="--every",
        )
    return {"mode": "interval", "seconds": _seconds(text, "--every", "a time such as 5s or 1m, or frames such as 10f")}


def _times(text: str) -> list[Decimal]:
    return [_seconds(part, "--at", "times such as 1.5,10,1:30") for part in text.split(",")]


def _range(text: str) -> tuple[Decimal | None, Decimal | None]:
    start, dash, end = text.partition("-")
    expected = "a range such as 10-20, 1:30-2:00, 10- or -20"
    if not dash or not (start.strip() or end.strip()):
        raise typer.BadParameter(f"{text!r} is not {expected}.", param_hint="--range")
    both = [_seconds(part, "--range", expected) if part.strip() else None for part in (start, end)]
    return both[0], both[1]


def _seconds(text: str, option: str, expected: str) -> Decimal:
    """Reads 90, 1.5, 1:30, 1:02:03.5, 250ms, 5s, 2m or 1h."""
    found = re.fullmatch(r"(?:(?:([0-9]+):)?([0-9]{1,4}):)?([0-9]*\.?[0-9]+|[0-9]+\.)(ms|s|min|m|h)?", text.strip())
    if found is None or (found[2] is not None and found[4]):
        raise typer.BadParameter(f"{text!r} is not {expected}.", param_hint=option)
    hours, minutes, seconds, unit = found.groups(default="")
    total = Decimal(seconds) * _UNIT_SECONDS[unit]
    return total + 60 * Decimal(minutes or 0) + 3600 * Decimal(hours or 0)


def _number(text: str, option: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not (number.is_finite() and (not number or abs(number.adjusted()) < 20)):
        raise typer.BadParameter(f"{text!r} is not a number, such as 2 or 0.5.", param_hint=option)
    return number

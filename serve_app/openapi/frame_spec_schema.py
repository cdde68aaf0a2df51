"""The JSON schema of the frame specification. `db.values.frame_spec` parses it, with more exact errors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from db.values.frame_spec import ImageFormat, ImageNames, Snap


class Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FpsSample(Schema):
    """For t = start + k/fps, t < end: the frame on screen at t."""

    mode: Literal["fps"] = "fps"
    fps: Annotated[float, Field(gt=0)] = 1


class IntervalSample(Schema):
    """For t = start + k · seconds, t < end: the frame on screen at t."""

    mode: Literal["interval"]
    seconds: Annotated[float, Field(gt=0)]


class UniformSample(Schema):
    """The frame on screen in the middle of each of `count` equal parts."""

    mode: Literal["uniform"]
    count: Annotated[int, Field(ge=1)]


class TimestampsSample(Schema):
    """The frame on screen at each time. The times may come in any order."""

    mode: Literal["timestamps"]
    at: Annotated[list[float], Field(min_length=1, max_length=100_000)]


class EveryNthSample(Schema):
    """Every n-th displayed frame, from the first one in the range."""

    mode: Literal["every_nth"]
    n: Annotated[int, Field(ge=1)]


class KeyframesSample(Schema):
    """Every key frame in the range."""

    mode: Literal["keyframes"]


class ScenesSample(Schema):
    """The first frame of every shot, as PySceneDetect's ContentDetector finds them."""

    mode: Literal["scenes"]
    threshold: Annotated[float, Field(ge=0, le=100)] = 27


class AllSample(Schema):
    """Every displayed frame in the range."""

    mode: Literal["all"]


Sample = (
    FpsSample
    | IntervalSample
    | UniformSample
    | TimestampsSample
    | EveryNthSample
    | KeyframesSample
    | ScenesSample
    | AllSample
)


class Range(Schema):
    """A frame is in the range when start ≤ its time < end."""

    start: Annotated[float, Field(ge=0, description="Seconds from the first displayed frame.")] = 0
    end: Annotated[float | None, Field(description="Seconds, not included; null: the end of the video.")] = None


class Image(Schema):
    """How the frames become images."""

    format: Annotated[ImageFormat, Field(description="The format of the images.")] = ImageFormat.JPEG
    quality: Annotated[int, Field(ge=1, le=100, description="Of JPEG and WebP.")] = 90
    max_side: Annotated[
        Annotated[int, Field(ge=16)] | None,
        Field(description="Pixels of the longer displayed side at most. Pictures are only ever made smaller."),
    ] = None
    names: Annotated[
        ImageNames,
        Field(
            description="What the name of an image tells: its number and time, its number alone, or the index of its "
            "frame in the video."
        ),
    ] = ImageNames.TIME


class FrameSpec(Schema):
    """Which frames are extracted, and how they are encoded."""

    sample: Sample = FpsSample()
    range: Range = Range()
    image: Image = Image()
    snap: Annotated[Snap, Field(description="keyframe: the nearest key frame in the range instead; much cheaper.")] = (
        Snap.EXACT
    )
    max_frames: Annotated[
        Annotated[int, Field(ge=1)] | None, Field(description="Images at most; the first ones are given.")
    ] = None

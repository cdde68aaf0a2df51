"""The JSON schema of the frame specification. `db.values.frame_spec` parses it, with more exact errors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from db.values.frame_spec import ImageFormat, ImageNames, Snap


class Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FpsSample(Schema):
    mode: Literal["fps"] = "fps"
    fps: Annotated[float, Field(gt=0)] = 1


class IntervalSample(Schema):
    mode: Literal["interval"]
    seconds: Annotated[float, Field(gt=0)]


class UniformSample(Schema):
    mode: Literal["uniform"]
    count: Annotated[int, Field(ge=1)]


class TimestampsSample(Schema):
    mode: Literal["timestamps"]
    at: Annotated[list[float], Field(min_length=1, max_length=100_000)]


class EveryNthSample(Schema):
    mode: Literal["every_nth"]
    n: Annotated[int, Field(ge=1)]


class KeyframesSample(Schema):
    mode: Literal["keyframes"]


class ScenesSample(Schema):
    mode: Literal["scenes"]
    threshold: Annotated[float, Field(ge=0, le=100)] = 27


class AllSample(Schema):
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
    """Seconds from the first displayed frame. end is exclusive; null is the end of the video."""

    start: Annotated[float, Field(ge=0)] = 0
    end: float | None = None


class Image(Schema):
    """max_side: the most pixels of the longer displayed side. names: an image is named by its number and time, by its
    number alone, or by the index of its frame in the video."""

    format: ImageFormat = ImageFormat.JPEG
    quality: Annotated[int, Field(ge=1, le=100)] = 90
    max_side: Annotated[int, Field(ge=16)] | None = None
    names: ImageNames = ImageNames.TIME


class FrameSpec(Schema):
    """Which frames are extracted, and how they are encoded."""

    sample: Sample = FpsSample()
    range: Range = Range()
    image: Image = Image()
    snap: Snap = Snap.EXACT
    max_frames: Annotated[int, Field(ge=1)] | None = None

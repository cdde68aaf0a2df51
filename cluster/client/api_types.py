"""The types of the API. Times are aware datetimes, durations seconds, sizes bytes, ids UUIDv7 text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

from msgspec import Meta, json

T = TypeVar("T")
_ENCODER = json.Encoder(decimal_format="number")
Time = Annotated[datetime, Meta(tz=True)]
"""A time without a zone is refused."""


class ApiValue:
    """A value of the API. It can't be changed, and two with equal fields are equal."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the value as an object that JSON can hold, with the field names of the API.

        >>> Status.RUNNING in [video.status for video in client.videos()]
        False
        >>> client.me().to_dict()["email"]
        'ana@example.org'
        """
        document: dict[str, Any] = json.decode(_ENCODER.encode(self))
        return document


class Status(StrEnum):
    """queued → running → succeeded | failed | cancelled; the last three never change.

    >>> Status.FAILED.ended
    True
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}


@dataclass(frozen=True, slots=True)
class Tokens(ApiValue):
    """A session. refresh_token: works once; None for an API key or a token that can't be renewed.

    >>> Tokens("access", "refresh")  # a secret is not shown
    Tokens(expires_in=None)
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class Media(ApiValue):
    """What the file is. Width and height are pixels as displayed; rotation in degrees.

    >>> client.estimate(Media(codec="h264", width=64, height=48, duration=2.5, fps_average=25.0)).frames
    7
    """

    container: str | None = None
    codec: str | None = None
    width: int | None = None
    height: int | None = None
    rotation: int | None = None
    duration: float | None = None
    frames: int | None = None
    fps_average: float | None = None
    variable_frame_rate: bool | None = None


@dataclass(frozen=True, slots=True)
class Progress(ApiValue):
    """frames_total, fraction: None until planned. queue_position: 1 to 1,000 while waiting, else None."""

    frames_done: int = 0
    frames_total: int | None = None
    fraction: float | None = None
    queue_position: int | None = None
    eta_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Failure(ApiValue):
    """Why an extraction failed. fault: "request", "file" or "service"."""

    code: str
    detail: str = ""
    fault: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ResultWarning(ApiValue):
    code: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Result(ApiValue):
    """frames: images in the archive. bytes, sha256: of the archive. expires_at: when its files go; None for never."""

    frames: int
    bytes: int
    sha256: str
    warnings: tuple[ResultWarning, ...] = ()
    expires_at: Time | None = None


@dataclass(frozen=True, slots=True)
class Preview(ApiValue):
    """While an extraction runs, `Client.sheet` gives a contact sheet of the images so far. frames: that it is made of.
    segment: the stretch of a long video that these are from, counted from 0; None for the whole video.
    """

    frames: int
    segment: int | None = None


@dataclass(frozen=True, slots=True)
class Extraction(ApiValue):
    """One run of a frame specification over a video. error is set when failed, result when succeeded, preview while it
    runs, from its first images on.

    >>> extraction.status.value, extraction.progress.frames_done
    ('succeeded', 1)
    """

    id: str
    video_id: str
    spec: Mapping[str, Any]
    status: Status
    progress: Progress
    created_at: Time
    reused: bool = False
    attempt: int = 0
    error: Failure | None = None
    result: Result | None = None
    version: int = 0
    started_at: Time | None = None
    finished_at: Time | None = None
    preview: Preview | None = None


@dataclass(frozen=True, slots=True)
class Video(ApiValue):
    """What was uploaded. extraction: the newest one; media: None until the probe.

    >>> video.filename, video.extraction.status.ended
    ('clip.mp4', False)
    """

    id: str
    filename: str
    size: int
    status: Status
    created_at: Time
    extraction: Extraction
    sha256: str | None = None
    media: Media | None = None


@dataclass(frozen=True, slots=True)
class Estimate(ApiValue):
    """What an extraction is going to give. frames: images. bytes: of the archive. seconds: of one worker.

    >>> client.estimate(video)
    Estimate(frames=7, bytes=1000, seconds=1.5)
    """

    frames: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TimelineEvent(ApiValue):
    """One event of a time line. blame: what a retry counts against.

    >>> client.timeline(extraction)[-1].frames
    2
    """

    at: Time
    kind: str
    attempt: int | None = None
    segment: int | None = None
    segments: int | None = None
    blame: str | None = None
    code: str | None = None
    detail: str | None = None
    channel: str | None = None
    frames: int | None = None
    frames_total: int | None = None


@dataclass(frozen=True, slots=True)
class Page(ApiValue, Generic[T]):
    """One page of a list. next_cursor: None on the last one.

    >>> client.video_page().items[0].filename
    'clip.mp4'
    """

    items: tuple[T, ...]
    next_cursor: str | None = None

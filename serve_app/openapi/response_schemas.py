"""The JSON schemas of responses. Tests validate real responses with them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from db.notification.webhook_deliveries import DeliveryStatus
from db.values.error_catalogue import Fault
from db.values.lifecycle import ExtractionStatus
from serve_app.openapi.frame_spec_schema import FrameSpec, Schema
from serve_app.routes.estimates import MediaOfClient


class PartError(Schema):
    """A refused part of a multipart request. index: its position in the body, from 0."""

    part: str
    index: int
    filename: str | None
    code: str
    detail: str
    fault: Fault
    remedy: str


PartState = Literal["ok", "away", "starting", "restarting", "behind", "full"]


class Problem(Schema):
    """An error (RFC 9457). parts: of `/readyz`, as in Readiness."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    fault: Fault
    remedy: str
    errors: list[PartError] | None = None
    current_status: ExtractionStatus | None = None
    parts: dict[str, PartState] | None = None


class NewAccount(Schema):
    id: UUID
    email: str
    name: str
    role: Literal["user", "admin"]


class Quotas(Schema):
    """waiting: extractions that have not ended. stored_bytes: videos and archives. minutes_per_day: of video, extracted
    in the last 24 hours or waiting. null: no limit.
    """

    waiting: int | None
    stored_bytes: int | None
    minutes_per_day: int | None


class Usage(Schema):
    videos: int
    waiting: int
    stored_bytes: int
    minutes_per_day: float


class Account(NewAccount):
    locale: str
    notify: Literal["all", "failures", "none"]
    created_at: datetime
    quotas: Quotas
    use: Usage


class Tokens(Schema):
    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str


class Media(Schema):
    """What the probe has read. width, height: pixels as displayed. rotation: degrees clockwise."""

    container: str
    codec: str
    width: int
    height: int
    rotation: int
    duration: float
    frames: int
    fps_average: float
    variable_frame_rate: bool


class Progress(Schema):
    frames_done: int
    frames_total: int | None
    fraction: float | None
    queue_position: int | None
    eta_seconds: float | None


class ExtractionError(Schema):
    code: str
    detail: str
    fault: Fault
    remedy: str


class ResultWarning(Schema):
    code: str
    detail: str


class Result(Schema):
    """bytes, sha256: of frames.zip."""

    frames: int
    bytes: int
    sha256: str
    warnings: list[ResultWarning]
    expires_at: datetime | None


class Preview(Schema):
    """While it runs: sheet.jpg shows the images so far. frames: that it is made of. segment: the stretch of a long
    video that these are from, counted from 0; null for the whole video.
    """

    frames: int
    segment: int | None


class Extraction(Schema):
    """One run of a frame specification over a video."""

    id: UUID
    video_id: UUID
    spec: FrameSpec
    status: ExtractionStatus
    reused: bool
    progress: Progress
    attempt: int
    error: ExtractionError | None
    result: Result | None
    preview: Preview | None
    version: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Video(Schema):
    """An uploaded video with its newest extraction."""

    id: UUID
    filename: str
    size: int
    sha256: str | None
    status: ExtractionStatus
    created_at: datetime
    media: Media | None
    extraction: Extraction


class Videos(Schema):
    items: list[Video]


class VideoPage(Videos):
    next_cursor: str | None


class NewExtraction(Schema):
    """The body of POST /v1/videos/{id}/extractions."""

    spec: FrameSpec = FrameSpec()


class UploadSpec(Schema):
    """The body of POST /v1/uploads, when the specification is too long for the header Upload-Metadata."""

    spec: FrameSpec = FrameSpec()


class NewEstimate(Schema):
    """The body of POST /v1/estimates: either a stored video or the facts of a file."""

    video_id: UUID | None = None
    media: MediaOfClient | None = None
    spec: FrameSpec = FrameSpec()


class Estimate(Schema):
    """frames: images. bytes: of the archive. seconds: of one worker."""

    frames: int
    bytes: int
    seconds: float


class TimelineEvent(Schema):
    """An event of an extraction: its time, its kind, and the details of that kind."""

    at: datetime
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
    from_: UUID | None = Field(None, alias="from")


class Timeline(Schema):
    items: list[TimelineEvent]
    next_cursor: str | None


class Balance(Schema):
    """differences: ids of extractions whose records disagree, at most a hundred of each account. reasons: by id."""

    accepted: int
    succeeded: int
    failed: int
    cancelled: int
    queued: int
    running: int
    deleted: int
    balanced: bool
    difference_count: int
    differences: list[UUID]
    reasons: dict[str, str]


class AccountBalance(Balance):
    user_id: UUID
    email: str | None


class Ledger(Balance):
    """users: at most a thousand, accounts with differences first. user_count: the number of all accounts."""

    users: list[AccountBalance]
    user_count: int


class ApiKey(Schema):
    """last_used_at: to some minutes; null when it was never used."""

    id: UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None


class NewApiKey(ApiKey):
    """secret: what programs send as their bearer token. It is shown only once; only its hash is stored."""

    secret: str


class ApiKeyPage(Schema):
    items: list[ApiKey]
    next_cursor: str | None


class Webhook(Schema):
    """disabled_at: when it was disabled because it answered 410 Gone; null while it is enabled."""

    id: UUID
    url: str
    events: list[str]
    created_at: datetime
    disabled_at: datetime | None


class NewWebhook(Webhook):
    """secret: signs the deliveries. It is shown only once."""

    secret: str


class WebhookPage(Schema):
    items: list[Webhook]
    next_cursor: str | None


class DeliveryTry(Schema):
    """status: of the response; null without one. error: null when the delivery was accepted."""

    at: datetime
    status: int | None
    error: str | None
    milliseconds: int


class Delivery(Schema):
    """A notification to one webhook. id: its `webhook-id`. due_at: of the next try, while it is pending."""

    id: UUID
    type: str
    extraction_id: UUID
    status: DeliveryStatus
    created_at: datetime
    due_at: datetime | None
    delivered_at: datetime | None
    tries: list[DeliveryTry]


class DeliveryPage(Schema):
    items: list[Delivery]
    next_cursor: str | None


class Liveness(Schema):
    status: Literal["alive"]


class Readiness(Schema):
    """parts: by name `ok`, `away`, `restarting` (away, and `fotograma up` starts it again), `behind` (an older schema)
    or `full` (less room than the reserve). paused: what an operator has paused; the service is ready all the same.

    Only the cache may be away. When another part is not `ok`, the answer is a Problem with the same `parts`. While the
    API itself is away, `fotograma up` answers in its place: `api` and other parts are `starting` or `restarting` then.
    """

    status: Literal["ready"]
    parts: dict[str, PartState]
    paused: list[Literal["accepting", "claiming"]]

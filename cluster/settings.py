"""The settings of the service, read from environment variables with the prefix FOTOGRAMA_.

docs/reference/settings.md is generated from the fields and their docstrings (`docsite.settings_page`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from actors.extraction_types import SEGMENT_SECONDS
from actors.scaling.replica_decision import IDLE_SECONDS, WAIT_SECONDS
from db.notification.webhook_url_policy import Reach
from db.values.lifecycle import HEARTBEAT_SECONDS, LEASE_SECONDS

MIB = 1 << 20
EMPTY_IS_NONE = BeforeValidator(lambda value: None if value == "" else value)
DAY_SECONDS = 24 * 3600.0


class Settings(BaseSettings):
    """One process's settings. Every field has an environment variable of its name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="FOTOGRAMA_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    # Servers.
    database_url: str
    """The PostgreSQL server that holds everything but the files: `postgresql://user:password@host/name`."""
    redis_url: str | None = None
    """The Redis server of the cache, which may be lost: `redis://host`. Without it all is read from PostgreSQL."""
    objects_url: str
    """Where videos and results are: `file:///folder`, or a URL that obstore takes (`s3://bucket/prefix`, `gs://…`,
    `az://…`)."""
    signed_url_seconds: Annotated[float, Field(ge=60, le=7 * 24 * 3600)] | None = None
    """With a bucket: archives are sent by the bucket itself, by a redirect to a signed URL that is good for so long. It
    has to be in reach of the clients, and names the file `frames.zip`. Without it the API sends them."""
    result_retention_days: Annotated[float, Field(gt=0)] | None = None
    """How long the files of a result are kept. Then they are removed, and their addresses answer 410. Without it: for
    ever."""
    video_retention_days: Annotated[float, Field(gt=0)] | None = None
    """How long the bytes of a video are kept, at least until its extractions have ended. Then it can't be extracted
    again. Without it: for ever."""
    smtp_url: SecretStr | None = None
    """Mail server: `smtp://[user:password@]host[:port]`, `smtps://…` for TLS from the start. `smtp://` uses STARTTLS
    when the server offers it; the certificate must be valid. Without a server mails are logged, and the page shows why
    a video failed."""
    mail_from: str = "Fotograma <fotograma@localhost>"
    """Sender of the mails."""
    webhook_reach: Reach = Reach.PUBLIC
    """Which addresses a webhook may have: `public` only, `loopback` too, or `private` for loopback and private ones."""
    events_stream: str = "fotograma:events"
    """Key of the Redis Stream with the events of all extractions. Empty: no stream."""
    events_stream_length: Annotated[int, Field(ge=1)] = 100_000
    """About how many entries the stream keeps. Older ones are removed."""
    public_url: str = "http://127.0.0.1:8000"
    """Address of the page, as people reach it. It stands in e-mails."""
    scratch: Path = Path("/tmp/fotograma")  # noqa: S108 - a default that a deployment overrides
    """Folder of the workers' temporary files. A task's files are removed with the task. With a bucket, the API
    keeps here what it receives until the bucket has it: at most 80 MiB for each upload that it reads."""
    supervisor_state: Path | None = None
    """File in which `fotograma up` says what its parts do, for `/readyz`. `up` sets it."""
    api_sockets: Path | None = None
    """Folder in which the API's replicas listen on Unix sockets, for the HAProxy of `fotograma up`. `up` sets it."""

    # Accounts.
    secret_key: SecretStr
    """Signs tokens and peppers passwords. At least 32 characters."""
    registration_open: bool = True
    """Whether everybody may make an account."""
    password_min_length: Annotated[int, Field(ge=8, le=1024)] = 8
    """Characters that a password has at least."""
    access_token_seconds: Annotated[int, Field(ge=30, le=600)] = 600
    """How long an access token is good. Clients renew it by themselves."""
    session_seconds: Annotated[int, Field(ge=600)] = 30 * 24 * 3600
    """How long a session lasts. Then its user logs in again."""
    address_burst: Annotated[int, Field(ge=1)] = 300
    """Log-ins and registrations of one network address at once, at one API replica. All who come through one proxy have
    its address: set more where many do."""
    address_per_second: Annotated[float, Field(gt=0)] = 5.0
    """The same per second, once the burst is used up."""

    # Accepting.
    request_max_bytes: Annotated[int, Field(ge=1)] = 64 * MIB
    """Bytes of the largest `POST /v1/videos`, all parts together."""
    request_max_files: Annotated[int, Field(ge=1)] = 100
    """Files of one `POST /v1/videos`."""
    upload_max_bytes: Annotated[int, Field(ge=1)] = 50_000 * MIB
    """Bytes of the largest video that can be sent in pieces, to `/v1/uploads`."""
    upload_request_max_bytes: Annotated[Annotated[int, Field(ge=MIB)] | None, EMPTY_IS_NONE] = 16 * MIB
    """Bytes of one request to `/v1/uploads`; empty for any size, as under `fotograma up`. Behind Serve's proxy, or
    Serve's HAProxy, a replica may hold a whole request in memory."""
    upload_expiry_seconds: Annotated[float, Field(ge=60)] = 7 * 24 * 3600.0
    """An upload that gets no byte for so long is discarded."""
    accept_burst: Annotated[int, Field(ge=1)] = 2000
    """Requests that make something, of one user at once."""
    accept_per_second: Annotated[float, Field(gt=0)] = 100.0
    """The same per second, once the burst is used up."""
    user_waiting_max: Annotated[int, Field(ge=1)] | None = 20_000
    """Extractions of one user that wait or run."""
    user_running_max: Annotated[int, Field(ge=1)] = 32
    """Tasks of one user that are worked on or next in turn; the others are throttled. `fotograma ops users share EMAIL
    --running-limit 64` sets another limit for one account."""
    user_stored_bytes_max: Annotated[int, Field(ge=1)] | None = None
    """Bytes of the videos and results of one user."""
    user_minutes_per_day: Annotated[int, Field(ge=1)] | None = None
    """Minutes of video that may be extracted for one user in 24 hours. A video counts with its whole duration while it
    waits and for 24 hours from its plan; while no worker has planned it, its duration is unknown, and it counts as one
    minute."""
    queue_tasks_max: Annotated[int, Field(ge=1)] = 1_000_000
    """Tasks of all users that may wait for a worker."""
    bodies_max: Annotated[int, Field(ge=1)] = 64
    """Uploads that one API replica reads at a time. An account that has half of them gets none of the last eighth."""
    storage_reserve_bytes: Annotated[int, Field(ge=0)] = 1024 * MIB
    """Bytes that accepting leaves free on the disk of a folder store, for results and for the rest of the machine."""

    # Working.
    workers: Annotated[int, Field(ge=1)] = 2
    """Worker processes. Each works on one task at a time. Under `fotograma up`, `--workers` overrides it, and the
    default is the number of cores."""
    worker_threads: Annotated[int, Field(ge=1)] = 1
    """Decoder threads of one worker."""
    reader: Literal["auto", "pyav", "decord"] = "auto"
    """What decodes: `auto`, `pyav` or `decord`. The frames are the same. With `pyav`, GPU workers don't use
    their GPU."""
    lease_seconds: Annotated[float, Field(ge=1)] = LEASE_SECONDS
    """A task whose worker gave no sign of life for so long is given to another one."""
    heartbeat_seconds: Annotated[float, Field(gt=0)] = HEARTBEAT_SECONDS
    """How often a worker gives a sign of life."""
    staging_max_bytes: Annotated[int, Field(ge=0)] = 20_000 * MIB
    """Bytes of the copies of videos that the workers of one machine keep in the scratch folder, for later tasks of the
    same video. 0 keeps none."""
    decode_memory_bytes: Annotated[int, Field(ge=256 * MIB)] = 4096 * MIB
    """Bytes of address space of a decoding child. Its resident memory stays far below."""
    decode_seconds_max: Annotated[float, Field(gt=0)] = 6 * 3600.0
    """The longest time that one task may take."""
    segment_seconds: Annotated[float, Field(gt=0)] = SEGMENT_SECONDS
    """A video that would take one core longer than this is shared out over the workers."""
    max_frames: Annotated[int, Field(ge=1)] = 1_000_000
    """The most images that one extraction may give."""
    drain_seconds: Annotated[float, Field(ge=0)] = 5.0
    """How long a task may go on when its worker is asked to stop. Then another worker takes it. On a node that is
    drained it is released before the node's deadline. With autoscaling, set more than the longest task takes."""
    scaling_wait_seconds: Annotated[float, Field(gt=0)] = WAIT_SECONDS
    """With autoscaling: there are as many workers as finish the ready tasks so long after the oldest became ready."""
    scaling_idle_seconds: Annotated[float, Field(ge=0)] = IDLE_SECONDS
    """With autoscaling: workers end when fewer would have been enough for so long."""
    api_replicas: Annotated[int, Field(ge=1)] = 1
    """Processes that answer the HTTP interface."""
    traceparent_trusted: bool = False
    """Whether the trace of a client (its header `traceparent`) goes on in the service, and whether the client decides
    that it is recorded. For services whose clients are all your own. Otherwise a request begins a trace of its own,
    with a link to the client's. Where traces go, OpenTelemetry's own variables say: `OTEL_EXPORTER_OTLP_ENDPOINT`."""

    @property
    def result_retention_seconds(self) -> float | None:
        return None if self.result_retention_days is None else self.result_retention_days * DAY_SECONDS

    @property
    def video_retention_seconds(self) -> float | None:
        return None if self.video_retention_days is None else self.video_retention_days * DAY_SECONDS


def load() -> Settings:
    """Reads the environment of this process. Raises pydantic's ValidationError, which names what is missing."""
    return Settings.model_validate({})

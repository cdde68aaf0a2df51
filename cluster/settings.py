"""What can be set, and from where: the environment, by names with the prefix FOTOGRAMA_."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from actors.notify.redis_stream_relay import LENGTH, STREAM
from actors.worker.worker_deps import SEGMENT_SECONDS
from db.notification.webhook_url_policy import Reach
from db.queue.task_queue import HEARTBEAT_SECONDS, LEASE_SECONDS

MIB = 1 << 20


class Settings(BaseSettings):
    """One process's settings. Every field has an environment variable of its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="FOTOGRAMA_", extra="ignore", frozen=True)

    # Servers.
    database_url: str
    """postgresql://… of the one source of truth."""
    redis_url: str | None = None
    """redis://… of the losable cache; none: everything is read from Postgres."""
    objects_url: str
    """file:///folder, or any URL that obstore takes (s3://bucket/prefix, gs://…, az://…)."""
    smtp_url: SecretStr | None = None
    """smtp://[user:password@]host[:port], smtps:// for TLS from the start; none: mails are logged."""
    mail_from: str = "Fotograma <fotograma@localhost>"
    webhook_reach: Reach = Reach.PUBLIC
    """How near a webhook may be: public addresses only, loopback too, or loopback and private ones."""
    events_stream: str = STREAM
    """Key of the Redis Stream with the life-cycle events; empty: none."""
    events_stream_length: Annotated[int, Field(ge=1)] = LENGTH
    """Entries that the stream keeps, about; older ones go."""
    public_url: str = "http://127.0.0.1:8000"
    """Where people reach the page; stands in e-mails."""
    scratch: Path = Path("/tmp/fotograma")  # noqa: S108 - a default that a deployment overrides
    """Folder of the workers' temporary files; each task's part of it is removed with the task."""

    # Accounts.
    secret_key: SecretStr
    """At least 32 characters; signs tokens and peppers passwords."""
    registration_open: bool = True
    password_min_length: Annotated[int, Field(ge=8, le=1024)] = 8
    access_token_seconds: Annotated[int, Field(ge=30, le=600)] = 600
    session_seconds: Annotated[int, Field(ge=600)] = 30 * 24 * 3600
    address_burst: Annotated[int, Field(ge=1)] = 300
    """Log-ins and registrations of one network address at once, at one API replica; after that, `address_per_second`.
    All who come through one proxy have its address."""
    address_per_second: Annotated[float, Field(gt=0)] = 5.0

    # Accepting.
    request_max_bytes: Annotated[int, Field(ge=1)] = 64 * MIB
    """The largest POST /v1/videos, all parts together."""
    request_max_files: Annotated[int, Field(ge=1)] = 100
    accept_burst: Annotated[int, Field(ge=1)] = 2000
    """Requests that make something, of one user at once; after that, `accept_per_second`."""
    accept_per_second: Annotated[float, Field(gt=0)] = 100.0
    user_waiting_max: Annotated[int, Field(ge=1)] | None = 20_000
    """Extractions of one user that have not ended."""
    user_running_max: Annotated[int, Field(ge=1)] = 32
    """Tasks of one user that are ready or being worked on; the others are held back. `fotograma ops users share` gives
    an account another."""
    user_stored_bytes_max: Annotated[int, Field(ge=1)] | None = None
    """Videos and archives of one user."""
    queue_tasks_max: Annotated[int, Field(ge=1)] = 1_000_000
    """Tasks that may wait for a worker, of all users."""
    bodies_max: Annotated[int, Field(ge=1)] = 64
    """Uploads that one API replica reads at a time."""
    storage_reserve_bytes: Annotated[int, Field(ge=0)] = 1024 * MIB
    """Room in a folder store that accepting leaves free, for results and the rest of the machine."""

    # Working.
    workers: Annotated[int, Field(ge=1)] = 2
    """Replicas of the pool; each has at most one task at a time."""
    worker_threads: Annotated[int, Field(ge=1)] = 1
    reader: str = "auto"
    """auto, pyav or decord."""
    lease_seconds: Annotated[float, Field(ge=1)] = LEASE_SECONDS
    heartbeat_seconds: Annotated[float, Field(gt=0)] = HEARTBEAT_SECONDS
    decode_memory_bytes: Annotated[int, Field(ge=256 * MIB)] = 4096 * MIB
    """Address space of a decoding child; resident memory stays far below."""
    decode_seconds_max: Annotated[float, Field(gt=0)] = 6 * 3600.0
    """The longest that one task may take."""
    segment_seconds: Annotated[float, Field(gt=0)] = SEGMENT_SECONDS
    """Work on one video that usually takes one core longer than this is shared out over the workers."""
    max_frames: Annotated[int, Field(ge=1)] = 1_000_000
    """Images that one extraction may give."""
    drain_seconds: Annotated[float, Field(ge=0)] = 5.0
    """How long a running task may go on when its worker is asked to stop; then it is given back."""
    api_replicas: Annotated[int, Field(ge=1)] = 1


def load() -> Settings:
    """Reads the environment of this process. Raises pydantic's ValidationError, which names what is missing."""
    return Settings.model_validate({})

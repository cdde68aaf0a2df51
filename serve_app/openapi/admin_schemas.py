"""The JSON schemas of what admins see."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from serve_app.openapi.frame_spec_schema import Schema
from serve_app.openapi.response_schemas import NewAccount, Quotas, Usage


class ManagedAccount(NewAccount):
    """An account as admins see it. disabled_at: since when its user is kept out. has_own_quotas: whether an admin gave
    it these quotas; otherwise they are those of the service.
    """

    created_at: datetime
    disabled_at: datetime | None
    quotas: Quotas
    has_own_quotas: bool
    use: Usage


class ManagedAccountPage(Schema):
    items: list[ManagedAccount]
    next_cursor: str | None


class GivenUp(Schema):
    """An extraction that failed after too many tries."""

    extraction_id: UUID
    user_id: UUID
    email: str | None
    code: str
    detail: str
    failed_at: datetime


class Queue(Schema):
    """Numbers of tasks. waiting: throttled (their account is at its running limit) and ready ones. delayed: ready ones
    whose next try is in the future. lost: their worker's lease has expired. oldest_seconds: how long the oldest waiting
    task has waited; null when none waits. given_up: the latest extractions that were given up in the last 7 days;
    given_up_count: all of them. accepting_paused_at, claiming_paused_at: since when an operator has paused it; null
    while it is not paused.
    """

    waiting: int
    throttled: int
    ready: int
    delayed: int
    running: int
    lost: int
    oldest_seconds: float | None
    given_up_count: int
    given_up: list[GivenUp]
    accepting_paused_at: datetime | None
    claiming_paused_at: datetime | None


class HeldTask(Schema):
    """A task that a worker has leased."""

    task_id: UUID
    kind: Literal["extract", "segment", "assemble"]
    extraction_id: UUID
    user_id: UUID
    attempt: int
    frames_done: int
    lease_expires_at: datetime


class Worker(Schema):
    """A worker as the database sees it. state: `running` holds a task, `lost` let its lease expire, `idle` holds none
    and asked for one in the last minute. kind: as what it works. gpu: in the GPU pool, its GPU and what it decodes, or
    what is missing; otherwise null. last_claimed_at: null when it was not in the last hour.
    """

    name: str
    state: Literal["running", "idle", "lost"]
    kind: Literal["cpu", "gpu"]
    gpu: str | None
    last_claimed_at: datetime | None
    tasks: list[HeldTask]


class Workers(Schema):
    items: list[Worker]

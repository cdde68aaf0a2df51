"""Tables of videos, extractions, tasks, the state of the queue, and shares."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    Double,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.declarative_base import Base, extraction_status, now, task_state
from db.values.lifecycle import ExtractionStatus, TaskState

_ENDED = "('succeeded', 'failed', 'cancelled')"


class Video(Base):
    __tablename__ = "videos"
    __table_args__ = (
        CheckConstraint("size > 0", name="size_positive"),
        Index("videos_user_id_id_idx", "user_id", text("id DESC"), postgresql_include=["filename_lower"]),
        Index("videos_user_id_sha256_idx", "user_id", "sha256"),
        Index("videos_created_at_idx", "created_at", postgresql_where=text("removed_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    filename: Mapped[str]
    filename_lower: Mapped[str | None] = mapped_column(Computed("lower(filename)", persisted=True))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    object_key: Mapped[str] = mapped_column(unique=True)
    media: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = now()
    removed_at: Mapped[datetime | None]


class Result(Base):
    """The files of a result, below the prefix `key`. extraction_id: the one whose worker made it. expires_at: the
    latest time of the extractions that refer to it. removed_at: when its objects were given to maintenance.
    """

    __tablename__ = "results"
    __table_args__ = (
        Index("results_user_id_idx", "user_id", postgresql_where=text("removed_at IS NULL")),
        Index("results_expires_at_idx", "expires_at", postgresql_where=text("removed_at IS NULL")),
    )

    key: Mapped[str] = mapped_column(primary_key=True)
    extraction_id: Mapped[UUID] = mapped_column(unique=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    bytes: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]


class Extraction(Base):
    __tablename__ = "extractions"
    __table_args__ = (
        CheckConstraint(f"(finished_at IS NOT NULL) = (status IN {_ENDED})", name="finished_at_when_ended"),
        CheckConstraint("(error_code IS NOT NULL) = (status = 'failed')", name="error_when_failed"),
        CheckConstraint("(result_key IS NOT NULL) = (status = 'succeeded')", name="result_when_succeeded"),
        CheckConstraint("(result_key IS NULL) = (result_sha256 IS NULL)", name="result_whole"),
        CheckConstraint("started_at IS NOT NULL OR status IN ('queued', 'cancelled', 'failed') OR reused",
                        name="started_when_running"),
        CheckConstraint("frames_done >= 0 AND (frames_total IS NULL OR frames_done <= frames_total)",
                        name="progress_within_total"),
        CheckConstraint("segments_left >= 0", name="segments_counted"),
        CheckConstraint("(plan_key IS NULL) = (segments_left IS NULL)", name="split_whole"),
        CheckConstraint("request_id ~ '^[A-Za-z0-9._-]{1,64}$'", name="request_id_is_word"),
        CheckConstraint("traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'",
                        name="traceparent_is_w3c"),
        Index("extractions_video_id_id_idx", "video_id", text("id DESC")),
        Index("extractions_result_key_idx", "result_key", postgresql_where=text("result_key IS NOT NULL")),
        Index("extractions_user_id_status_video_id_idx", "user_id", "status", text("video_id DESC")),
        Index("extractions_warned_idx", "user_id", text("video_id DESC"),
              postgresql_where=text("status = 'succeeded' AND result_warnings <> '[]'")),
        Index("extractions_unswept_idx", "finished_at", postgresql_where=text("finished_at IS NOT NULL AND NOT swept")),
        Index("extractions_given_up_idx", "finished_at",
              postgresql_where=text("error_code IN ('gave_up', 'workers_lost', 'service_failed')")),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True)
    video_id: Mapped[UUID] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    spec: Mapped[str]
    status: Mapped[ExtractionStatus] = mapped_column(extraction_status, server_default="queued")
    reused: Mapped[bool] = mapped_column(Boolean, server_default="false")
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    frames_done: Mapped[int] = mapped_column(Integer, server_default="0")
    frames_total: Mapped[int | None] = mapped_column(Integer)
    # For a split extraction: the prefix of its plan, and how many segments are not published yet.
    plan_key: Mapped[str | None]
    segments_left: Mapped[int | None] = mapped_column(Integer)
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    # Reader and engine version that made the result. Together with the video's bytes and the spec they determine it.
    result_engine: Mapped[str | None]
    result_key: Mapped[str | None] = mapped_column(ForeignKey("results.key", deferrable=True, initially="DEFERRED"))
    result_frames: Mapped[int | None] = mapped_column(Integer)
    result_bytes: Mapped[int | None] = mapped_column(BigInteger)
    result_expires_at: Mapped[datetime | None]
    result_sha256: Mapped[str | None]
    result_warnings: Mapped[list[dict[str, Any]] | None]
    swept: Mapped[bool] = mapped_column(Boolean, server_default="false")
    created_at: Mapped[datetime] = now()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    # Of the request that was accepted: db.tracing_api.Origin.
    request_id: Mapped[str | None]
    traceparent: Mapped[str | None]


class Task(Base):
    """The unit that a worker claims. `attempt` rises at every claim and never falls: it is the fence, not the retry
    limit.

    cost: bytes when accepted, frames to decode of a segment. work: bytes that the plan turned out to be worth, known
    once. prefers: the kind of workers that it is left to for a while. claimed_at: the first time. segment_…: its
    number, its positions [first, stop) in the plan's targets, and the prefix of its published objects. preview_…: of
    its newest preview, and how many images that shows. traceparent: of a segment or assemble task, the span that
    planned it.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        CheckConstraint("(state = 'leased') = (leased_by IS NOT NULL)", name="owner_when_leased"),
        CheckConstraint("(state = 'leased') = (lease_expires_at IS NOT NULL)", name="expiry_when_leased"),
        CheckConstraint("attempt >= 0 AND crashes >= 0 AND losses >= 0 AND service_errors >= 0", name="counters_rise"),
        CheckConstraint("kind IN ('extract', 'segment', 'assemble')", name="kind_known"),
        CheckConstraint("prefers IN ('cpu', 'gpu')", name="prefers_known"),
        CheckConstraint("(kind = 'segment') = (segment_number IS NOT NULL AND segment_first IS NOT NULL"
                        " AND segment_stop IS NOT NULL)", name="segment_whole"),
        CheckConstraint("segment_first >= 0 AND segment_stop > segment_first", name="segment_not_empty"),
        CheckConstraint("(segment_key IS NOT NULL) = (kind = 'segment' AND state = 'done')",
                        name="segment_key_when_done"),
        CheckConstraint("(preview_key IS NULL) = (preview_frames IS NULL) AND preview_frames > 0",
                        name="preview_whole"),
        CheckConstraint("preview_key IS NULL OR state = 'leased' OR kind = 'segment' AND state = 'done'",
                        name="preview_of_images"),
        CheckConstraint("frames_done >= 0", name="progress_not_negative"),
        # The order of the claim; it contains only ready tasks.
        Index("tasks_ready_idx", text("priority DESC"), "virtual_finish", "id",
              postgresql_where=text("state = 'ready'")),
        # What a worker with a GPU takes first.
        Index("tasks_ready_gpu_idx", text("priority DESC"), "virtual_finish", "id",
              postgresql_where=text("state = 'ready' AND prefers = 'gpu'")),
        # The same order for throttled tasks: for queue positions, and for which task is admitted next.
        Index("tasks_throttled_idx", text("priority DESC"), "virtual_finish", "id",
              postgresql_where=text("state = 'throttled'")),
        Index("tasks_throttled_user_idx", "user_id", text("priority DESC"), "virtual_finish", "id",
              postgresql_where=text("state = 'throttled'")),
        Index("tasks_lease_idx", "lease_expires_at", postgresql_where=text("state = 'leased'")),
        # The last entry of a kind is its latest claim; its tag is the virtual time of that kind.
        Index("tasks_claimed_idx", "prefers", "claimed_at",
              postgresql_where=text("kind = 'extract' AND claimed_at IS NOT NULL")),
        Index("tasks_extraction_id_idx", "extraction_id"),
        Index("tasks_segment_number_key", "extraction_id", "segment_number", unique=True,
              postgresql_where=text("kind = 'segment'")),
        Index("tasks_assemble_key", "extraction_id", unique=True, postgresql_where=text("kind = 'assemble'")),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True)
    extraction_id: Mapped[UUID] = mapped_column(ForeignKey("extractions.id", ondelete="CASCADE"))
    user_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(server_default="extract")
    prefers: Mapped[str] = mapped_column(server_default="cpu")
    state: Mapped[TaskState] = mapped_column(task_state, server_default="ready")
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    virtual_finish: Mapped[float] = mapped_column(Double, server_default="0")
    cost: Mapped[int] = mapped_column(BigInteger, server_default="0")
    work: Mapped[int | None] = mapped_column(BigInteger)
    ready_at: Mapped[datetime] = now()
    claimed_at: Mapped[datetime | None]
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    leased_by: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    frames_done: Mapped[int] = mapped_column(Integer, server_default="0")
    crashes: Mapped[int] = mapped_column(Integer, server_default="0")
    losses: Mapped[int] = mapped_column(Integer, server_default="0")
    service_errors: Mapped[int] = mapped_column(Integer, server_default="0")
    first_service_error_at: Mapped[datetime | None]
    segment_number: Mapped[int | None] = mapped_column(Integer)
    segment_first: Mapped[int | None] = mapped_column(Integer)
    segment_stop: Mapped[int | None] = mapped_column(Integer)
    segment_key: Mapped[str | None]
    preview_key: Mapped[str | None]
    preview_frames: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = now()
    traceparent: Mapped[str | None]


class PlannedDuration(Base):
    """What one extraction counts for its account's minutes per day: the seconds of the whole video, since its plan."""

    __tablename__ = "planned_durations"
    __table_args__ = (CheckConstraint("seconds >= 0", name="not_negative"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    extraction_id: Mapped[UUID] = mapped_column(primary_key=True)
    seconds: Mapped[Decimal] = mapped_column(Numeric)
    planned_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class QueueState(Base):
    """One row: the state of the whole queue. virtual_time, gpu_virtual_time: lower bounds of the tag of the latest
    claim, among the tasks that prefer CPU workers and among those that prefer GPU workers.
    """

    __tablename__ = "queue_state"
    __table_args__ = (
        CheckConstraint("id", name="one_row"),
        CheckConstraint("running_limit > 0", name="limit_positive"),
    )

    id: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default="true")
    running_limit: Mapped[int] = mapped_column(Integer, server_default="32")
    virtual_time: Mapped[float] = mapped_column(Double, server_default="0")
    gpu_virtual_time: Mapped[float] = mapped_column(Double, server_default="0")


class Share(Base):
    """One account's share of the workers. A trigger adds it with the account.

    running_limit: null means that of the queue. last_finish: the tag of the latest task. owed: bytes of work that
    the next task is charged for, negative when it is spared. open: ready and leased tasks, counted by acceptance and by
    triggers.
    """

    __tablename__ = "shares"
    __table_args__ = (
        CheckConstraint("weight > 0", name="weight_positive"),
        CheckConstraint("running_limit > 0", name="limit_positive"),
        CheckConstraint("open >= 0", name="open_counted"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    weight: Mapped[float] = mapped_column(Double, server_default="1")
    running_limit: Mapped[int | None] = mapped_column(Integer)
    last_finish: Mapped[float] = mapped_column(Double, server_default="0")
    owed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    open: Mapped[int] = mapped_column(Integer, server_default="0")

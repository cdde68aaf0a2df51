"""Tables of reservations, garbage, the ledger, idempotency keys, and what operators have set."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.declarative_base import Base, extraction_status, now
from db.values.lifecycle import ExtractionStatus


class Reservation(Base):
    """An object that is being written and not accepted yet: maintenance can tell it from an orphaned one."""

    __tablename__ = "reservations"

    object_key: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    abandoned_at: Mapped[datetime | None]


class Acceptance(Base):
    """Append-only: one row per accepted extraction, written in the same transaction. It has no foreign key and is never
    deleted.
    """

    __tablename__ = "acceptances"

    extraction_id: Mapped[UUID] = mapped_column(primary_key=True)
    video_id: Mapped[UUID]
    user_id: Mapped[UUID]
    accepted_at: Mapped[datetime] = now()


class Tombstone(Base):
    """What a deletion leaves: the deleted extraction and its last status."""

    __tablename__ = "tombstones"

    extraction_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    status: Mapped[ExtractionStatus] = mapped_column(extraction_status)
    deleted_at: Mapped[datetime] = now()


class LastAudit(Base):
    """One row: what the last comparison of the ledger found."""

    __tablename__ = "last_audit"
    __table_args__ = (CheckConstraint("id", name="one_row"),)

    id: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default="true")
    audited_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    accepted: Mapped[int] = mapped_column(BigInteger)
    difference_count: Mapped[int] = mapped_column(BigInteger)


class Garbage(Base):
    """Objects whose rows are gone: a key, or a prefix that ends with a slash. Maintenance deletes them, so that a
    deletion never waits for the store.
    """

    __tablename__ = "garbage"

    object_key: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = now()


class IdempotencyKey(Base):
    """One request with a key. Without a response it is a lease: a call whose server died can be repeated.

    video_id: the key is kept as long as this video; None: for a day.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        CheckConstraint("(response IS NULL) = (fingerprint IS NULL)", name="answered_whole"),
        Index("idempotency_keys_created_at_idx", "created_at", postgresql_where=text("video_id IS NULL")),
        Index("idempotency_keys_video_id_idx", "video_id", postgresql_where=text("video_id IS NOT NULL")),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[UUID]
    lease_expires_at: Mapped[datetime]
    fingerprint: Mapped[str | None]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    response: Mapped[str | None]
    video_id: Mapped[UUID | None] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = now()


class OperatorControls(Base):
    """One row: what operators have paused. deletion_held_until: no object is deleted before, because a backup runs."""

    __tablename__ = "operator_controls"
    __table_args__ = (CheckConstraint("id", name="one_row"),)

    id: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default="true")
    accepting_paused_at: Mapped[datetime | None]
    claiming_paused_at: Mapped[datetime | None]
    deletion_held_until: Mapped[datetime | None]


class WorkerLimits(Base):
    """How many workers of a kind autoscaling may ask for. None: the bound of the deployment holds."""

    __tablename__ = "worker_limits"
    __table_args__ = (
        CheckConstraint("min_workers >= 0 AND max_workers >= 0", name="not_negative"),
        CheckConstraint("min_workers <= max_workers", name="in_order"),
    )

    kind: Mapped[str] = mapped_column(primary_key=True)
    min_workers: Mapped[int | None]
    max_workers: Mapped[int | None]

"""Tables of reservations, garbage, the ledger and idempotency keys."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, func
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


class Garbage(Base):
    """Objects whose rows are gone: a key, or a prefix that ends with a slash. Maintenance deletes them, so that a
    deletion never waits for the store.
    """

    __tablename__ = "garbage"

    object_key: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = now()


class IdempotencyKey(Base):
    """One request with a key. Without a response it is a lease: a call whose server died can be repeated."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        CheckConstraint("(response IS NULL) = (fingerprint IS NULL)", name="answered_whole"),
        Index("idempotency_keys_created_at_idx", "created_at"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[UUID]
    lease_expires_at: Mapped[datetime]
    fingerprint: Mapped[str | None]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    response: Mapped[str | None]
    created_at: Mapped[datetime] = now()

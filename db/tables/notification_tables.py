"""Tables of events, the cursor of the stream, the outbox, webhooks and their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.declarative_base import Base, now


class Event(Base):
    """The time line of an extraction, one row per transition.

    transaction_id: of the writer. It tells the stream that no earlier event can still appear.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("events_extraction_id_id_idx", "extraction_id", "id"),
        Index("events_transaction_id_idx", "transaction_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    extraction_id: Mapped[UUID] = mapped_column(ForeignKey("extractions.id", ondelete="CASCADE"))
    kind: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    transaction_id: Mapped[int] = mapped_column(
        BigInteger, server_default=text("((pg_current_xact_id())::text)::bigint")
    )


class StreamCursor(Base):
    """One row: the position of the stream. The events of the transactions [low, high) are being sent. Those up to
    after_id are sent, and all of the transactions below low.
    """

    __tablename__ = "stream_cursor"
    __table_args__ = (CheckConstraint("id", name="one_row"), CheckConstraint("low <= high", name="window_forward"))

    id: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default="true")
    low: Mapped[int] = mapped_column(BigInteger, server_default="0")
    high: Mapped[int] = mapped_column(BigInteger, server_default="0")
    after_id: Mapped[int] = mapped_column(BigInteger, server_default="0")


class Outbox(Base):
    """A pending notification, one row per channel, written in the transaction of the terminal status.

    owed_since: when it was written or last requested again. It is given up a day later.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("extraction_id", "channel"),
        CheckConstraint("delivered_at IS NULL OR given_up_at IS NULL", name="one_end"),
        Index("outbox_due_idx", "channel", "due_at",
              postgresql_where=text("delivered_at IS NULL AND given_up_at IS NULL")),
        # The deliveries of one webhook, newest first.
        Index("outbox_channel_id_idx", "channel", text("id DESC"), postgresql_where=text("channel <> 'email'")),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True)
    extraction_id: Mapped[UUID] = mapped_column(ForeignKey("extractions.id", ondelete="CASCADE"))
    channel: Mapped[str]
    tries: Mapped[int] = mapped_column(Integer, server_default="0")
    due_at: Mapped[datetime] = now()
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = now()
    owed_since: Mapped[datetime] = now()
    delivered_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]


class Webhook(Base):
    """A URL to which an account's notifications are sent. disabled_at: when it answered 410 Gone."""

    __tablename__ = "webhooks"
    __table_args__ = (
        CheckConstraint("cardinality(events) > 0", name="events_given"),
        Index("webhooks_user_id_id_idx", "user_id", text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    url: Mapped[str]
    secret: Mapped[str]
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = now()
    disabled_at: Mapped[datetime | None]


class Delivery(Base):
    """One attempt to deliver a notification to a webhook. status: of the response, null without one."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("deliveries_outbox_id_id_idx", "outbox_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuid_v7()"))
    outbox_id: Mapped[UUID] = mapped_column(ForeignKey("outbox.id", ondelete="CASCADE"))
    status: Mapped[int | None] = mapped_column(SmallInteger)
    error: Mapped[str | None]
    milliseconds: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime] = now()

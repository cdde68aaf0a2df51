"""Tables of uploads by tus and their chunks."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.declarative_base import Base, now

_OPEN = text("completed_at IS NULL AND discarded_at IS NULL")


class UploadRow(Base):
    """A video on its way in. id: of the video as well. received: bytes whose chunks are committed."""

    __tablename__ = "uploads"
    __table_args__ = (
        CheckConstraint("size > 0", name="size_positive"),
        CheckConstraint("received >= 0 AND (size IS NULL OR received <= size)", name="received_within_size"),
        CheckConstraint("(completed_at IS NOT NULL) = (size IS NOT NULL AND received = size)",
                        name="complete_when_received"),
        CheckConstraint("completed_at IS NULL OR discarded_at IS NULL", name="one_end"),
        Index("uploads_open_idx", "user_id", postgresql_where=_OPEN),
        Index("uploads_expiry_idx", "expires_at", postgresql_where=_OPEN),
        Index("uploads_discarded_idx", "discarded_at", postgresql_where=text("discarded_at IS NOT NULL")),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    filename: Mapped[str]
    spec: Mapped[str]
    # As the client sent it.
    metadata_header: Mapped[str] = mapped_column("metadata")
    size: Mapped[int | None] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, server_default="0")
    chunk_count: Mapped[int] = mapped_column(server_default="0")
    sha256: Mapped[str | None]
    created_at: Mapped[datetime] = now()
    expires_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
    discarded_at: Mapped[datetime | None]


class UploadChunk(Base):
    """One object with `size` bytes of an upload, from the byte `start` on."""

    __tablename__ = "upload_chunks"
    __table_args__ = (CheckConstraint("start >= 0 AND size > 0", name="place_valid"),)

    upload_id: Mapped[UUID] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    object_key: Mapped[str] = mapped_column(unique=True)

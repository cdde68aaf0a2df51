"""Tables of accounts and their sessions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.declarative_base import Base, now


class User(Base):
    """An account. erased_at: when its user had it erased; the row stays until all that it owns is deleted."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("role IN ('user', 'admin')", name="role_known"),
        CheckConstraint("notify IN ('all', 'failures', 'none')", name="notify_known"),
        CheckConstraint("(email IS NULL) = (erased_at IS NOT NULL)", name="email_until_erased"),
        CheckConstraint("erased_at IS NULL OR name = '' AND password_hash = ''", name="anonymous_when_erased"),
        Index("users_erased_at_idx", "erased_at", postgresql_where=text("erased_at IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str | None] = mapped_column(unique=True)
    password_hash: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    locale: Mapped[str] = mapped_column(server_default="en")
    notify: Mapped[str] = mapped_column(server_default="all")
    role: Mapped[str] = mapped_column(server_default="user")
    created_at: Mapped[datetime] = now()
    erased_at: Mapped[datetime | None]


class Session(Base):
    """One log-in: a family of refresh tokens. The next refresh must present the token of `generation`."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    generation: Mapped[int] = mapped_column(Integer, server_default="0")
    created_at: Mapped[datetime] = now()
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]

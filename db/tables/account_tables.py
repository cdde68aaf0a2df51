"""Tables of accounts, their sessions, their API keys and their presets."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.declarative_base import Base, now


class User(Base):
    """An account. erased_at: when its user had it erased; the row stays until all that it owns is deleted. disabled_at:
    since when an admin keeps its user out.
    """

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
    disabled_at: Mapped[datetime | None]


class AccountQuotas(Base):
    """Quotas that an admin gave to one account, instead of those of the settings. None: no limit."""

    __tablename__ = "account_quotas"
    __table_args__ = (CheckConstraint("waiting > 0 AND stored_bytes > 0 AND minutes_per_day > 0", name="positive"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    waiting: Mapped[int | None] = mapped_column(BigInteger)
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    minutes_per_day: Mapped[int | None] = mapped_column(BigInteger)


class Session(Base):
    """One log-in: a family of refresh tokens. The next refresh must present the token of `generation`."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    generation: Mapped[int] = mapped_column(Integer, server_default="0")
    created_at: Mapped[datetime] = now()
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class ApiKey(Base):
    """A long-lived secret for programs. secret_hash: its SHA-256. last_used_at: to some minutes."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("octet_length(secret_hash) = 32", name="secret_is_hashed"),
        Index("api_keys_user_id_id_idx", "user_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    secret_hash: Mapped[bytes]
    created_at: Mapped[datetime] = now()
    last_used_at: Mapped[datetime | None]


class Preset(Base):
    """A frame specification under a name. spec: canonical JSON text."""

    __tablename__ = "presets"
    __table_args__ = (CheckConstraint("char_length(name) BETWEEN 1 AND 60", name="name_bounded"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    spec: Mapped[str]
    created_at: Mapped[datetime] = now()
    updated_at: Mapped[datetime] = now()

"""Tables of the kinds of workers, and of the workers of the GPU pool."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.declarative_base import Base, now


class WorkerKindRow(Base):
    """seen_at: the last sign of life of the kind. A kind without a row has never been there."""

    __tablename__ = "worker_kinds"
    __table_args__ = (CheckConstraint("kind IN ('cpu', 'gpu')", name="kind_known"),)

    kind: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime] = now()


class GpuWorkerRow(Base):
    """A worker of the GPU pool. can_decode: otherwise it works as a CPU worker. about: its GPU, or what it lacks."""

    __tablename__ = "gpu_workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    can_decode: Mapped[bool] = mapped_column(Boolean)
    about: Mapped[str]
    seen_at: Mapped[datetime] = now()

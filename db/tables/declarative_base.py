"""The declarative base of all tables, and column types that they share."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, MetaData, Text, func
from sqlalchemy.dialects.postgresql import ENUM, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.values.lifecycle import ExtractionStatus, TaskState

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

extraction_status = ENUM(*(status.value for status in ExtractionStatus), name="extraction_status", metadata=metadata)
task_state = ENUM(*(state.value for state in TaskState), name="task_state", metadata=metadata)


class Base(DeclarativeBase):
    metadata = metadata
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as it is
        datetime: DateTime(timezone=True),
        str: Text,
        dict[str, Any]: JSONB,
        list[dict[str, Any]]: JSONB,
    }


def now() -> Mapped[datetime]:
    """Returns a column that holds when its row was written."""
    return mapped_column(server_default=func.now())

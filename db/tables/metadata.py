"""The metadata of all tables. Invariants are CHECKs and triggers, not only code.

`migrations/` creates the same tables; a test compares the two.
"""

from db.tables import (
    account_tables,
    bookkeeping_tables,
    notification_tables,
    queue_tables,
    tus_upload_tables,
    worker_kind_tables,
)
from db.tables.declarative_base import metadata

__all__ = [
    "account_tables",
    "bookkeeping_tables",
    "metadata",
    "notification_tables",
    "queue_tables",
    "tus_upload_tables",
    "worker_kind_tables",
]

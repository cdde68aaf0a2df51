"""The tables, all of them. What must always hold stands there as a CHECK or a trigger, not in the code alone.

`migrations/` builds the same; a test compares the two.
"""

from db.tables import account_tables, bookkeeping_tables, notification_tables, queue_tables
from db.tables.declarative_base import metadata

__all__ = ["account_tables", "bookkeeping_tables", "metadata", "notification_tables", "queue_tables"]

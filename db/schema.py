"""The tables, all of them. What must always hold stands there as a CHECK or a trigger, not in the code alone.

`migrations/` builds the same; a test compares the two.
"""

from db.tables import accounts, bookkeeping, notifications, work
from db.tables.declaration import metadata

__all__ = ["accounts", "bookkeeping", "metadata", "notifications", "work"]

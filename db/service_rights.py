"""What the service may do in the database: all that its statements, and the triggers of its tables, need.

It needs no rights of sequences: those of identity columns are not checked. It makes no temporary tables and never
listens. A migration and a restore need the owner of the tables.
"""

from __future__ import annotations

from collections.abc import Mapping

SELECT, INSERT, UPDATE, DELETE = "SELECT", "INSERT", "UPDATE", "DELETE"
_ALL = (SELECT, INSERT, UPDATE, DELETE)
# A row that is locked needs UPDATE as well.
TABLE_RIGHTS: Mapping[str, tuple[str, ...]] = {
    "acceptances": (SELECT, INSERT),
    "account_quotas": _ALL,
    "alembic_version": (SELECT,),
    "api_keys": _ALL,
    "deliveries": (SELECT, INSERT),
    "events": (SELECT, INSERT),
    "extractions": (SELECT, INSERT, UPDATE),
    "garbage": (SELECT, INSERT, DELETE),
    "gpu_workers": _ALL,
    "idempotency_keys": _ALL,
    "last_audit": (SELECT, INSERT, UPDATE),
    "operator_controls": (SELECT, UPDATE),
    "outbox": _ALL,
    "planned_durations": (SELECT, INSERT, DELETE),
    "presets": _ALL,
    "queue_state": (SELECT, UPDATE),
    "reservations": _ALL,
    "results": _ALL,
    "sessions": _ALL,
    "shares": (SELECT, INSERT, UPDATE),
    "stream_cursor": (SELECT, UPDATE),
    "tasks": _ALL,
    "tombstones": (SELECT, INSERT),
    "upload_chunks": (SELECT, INSERT, DELETE),
    "uploads": _ALL,
    "users": _ALL,
    "videos": _ALL,
    "webhooks": _ALL,
    "worker_kinds": (SELECT, INSERT, UPDATE),
    "worker_limits": _ALL,
}
FUNCTIONS = ("fill_slots(uuid)", "uuid_v7()")
"""Those whose EXECUTE is checked; whoever may write a table may fire its triggers."""

"""Deletes what has expired: idempotency keys, sessions, discarded uploads, planned minutes of earlier days, and
unfinished writes of dead processes.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import NO_METRICS, MaintenanceMetrics
from db.acceptance import idempotency_keys, quotas, resumable_uploads
from db.accounts import accounts
from db.object_store.object_store import ObjectStore

UNFINISHED_SECONDS = 24 * 3600.0
"""A write that is unfinished for this long has lost its process."""


class ExpiryCleaner:
    """Deletes expired rows and unfinished files."""

    name = "expire"
    period_seconds = 600.0

    def __init__(self, database: AsyncEngine, objects: ObjectStore) -> None:
        self._database, self._objects = database, objects

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns how many rows and files were deleted."""
        rows = await idempotency_keys.delete_expired(self._database) + await accounts.delete_expired_sessions(
            self._database
        )
        rows += await resumable_uploads.delete_discarded(self._database)
        rows += await quotas.forget_planned(self._database)
        return rows + await self._objects.discard_unfinished(UNFINISHED_SECONDS)

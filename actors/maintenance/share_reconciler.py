"""Keeps the shares right: applies the running limit, recounts open tasks, and admits throttled tasks."""

from __future__ import annotations

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import NO_METRICS, MaintenanceMetrics
from db.queue import fair_queueing

log = structlog.get_logger()


class ShareReconciler:
    """running_limit: open tasks of an account; None leaves the stored limit as it is.

    The first run stores the limit, later runs do not: of two processes the one that started later has the newer
    settings.
    """

    name = "admit_throttled"
    period_seconds = 30.0

    def __init__(self, database: AsyncEngine, running_limit: int | None) -> None:
        self._database, self._running_limit = database, running_limit

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns how many throttled tasks became ready because their account had a free slot."""
        if self._running_limit is not None:
            await fair_queueing.set_running_limit(self._database, self._running_limit)
            self._running_limit = None
        await self.recount(metrics)
        return await fair_queueing.admit_throttled(self._database)

    async def recount(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Corrects shares whose count of open tasks is wrong; returns how many."""
        wrong = await fair_queueing.recount(self._database)
        for drift in wrong:
            log.warning(
                "A share had a wrong count of open tasks.",
                event_name="share.recounted",
                user_id=str(drift.user_id),
                recorded=drift.recorded,
                counted=drift.counted,
            )
        if wrong:
            metrics.acted("recount", len(wrong))
        return len(wrong)

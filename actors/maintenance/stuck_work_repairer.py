"""Repairs extractions that are stuck without a task, and tasks that have outlived their extraction."""

from __future__ import annotations

from dataclasses import asdict

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import NO_METRICS, MaintenanceMetrics
from db.queue import stuck_work_repair

log = structlog.get_logger()


class StuckWorkRepairer:
    """Requeues or fails stuck extractions, and cancels tasks of ended ones."""

    name = "repair"
    period_seconds = 300.0

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns how many extractions were repaired."""
        repaired = await stuck_work_repair.repair(self._database)
        count = repaired.requeued + repaired.failed + repaired.outlived
        if count:
            log.warning("Stuck extractions were repaired.", event_name="extraction.repaired", **asdict(repaired))
        return count

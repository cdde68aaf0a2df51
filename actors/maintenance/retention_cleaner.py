"""Removes expired results, and the bytes of old videos."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import NO_METRICS, MaintenanceMetrics
from db.object_store import retention


class RetentionCleaner:
    """video_seconds: how long the bytes of a video are kept; None for ever. The row of a result has its expiry."""

    name = "retention"
    period_seconds = 30.0

    def __init__(self, database: AsyncEngine, video_seconds: float | None) -> None:
        self._database, self._video_seconds = database, video_seconds

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns how many results and videos were removed."""
        removed = await retention.remove_expired_results(self._database)
        if self._video_seconds is not None:
            removed += await retention.remove_old_videos(self._database, seconds=self._video_seconds)
        return removed

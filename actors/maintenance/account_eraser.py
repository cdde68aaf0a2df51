"""Finishes the erasure of accounts: of those with many videos, and of those whose erasure was interrupted."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import NO_METRICS, MaintenanceMetrics
from db import account_erasure

VIDEOS = 1000
"""Of one account in one run."""


class AccountEraser:
    """Each run goes on with every account that is marked as erased."""

    name = "erase"
    period_seconds = 10.0

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns how many accounts are gone."""
        gone = 0
        for user_id in await account_erasure.marked_accounts(self._database):
            gone += await account_erasure.erase(self._database, user_id, max_videos=VIDEOS)
        return gone

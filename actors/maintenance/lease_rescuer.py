"""Rescues expired leases, but never after an outage, in which no worker could renew its lease."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import NO_METRICS, MaintenanceMetrics
from db import connection
from db.queue import task_queue

MAX_GAP_SECONDS = 15.0
"""When two runs are further apart than this, there may have been an outage between them."""

log = structlog.get_logger()


class LeaseRescuer:
    """Takes expired leases away once the database has been reachable for one whole lease.

    clock: monotonic seconds. jitter: random in [0, 1), spreads the retries.
    """

    name = "rescue"
    period_seconds = 5.0

    def __init__(
        self, database: AsyncEngine, lease_seconds: float, clock: Callable[[], float], jitter: Callable[[], float]
    ) -> None:
        self._database, self._lease_seconds, self._clock, self._jitter = database, lease_seconds, clock, jitter
        self._reachable_since: float | None = None
        self._last_run: tuple[float, float] | None = None

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns how many leases were rescued."""
        server_time = await connection.check(self._database)
        now = self._clock()
        if self._reachable_since is None or self._missed_time(now, server_time):
            self._reachable_since = now
        rescued = 0
        if now - self._reachable_since >= self._lease_seconds:
            rescued = await self._rescue()
        ended = self._clock()
        self._last_run = (ended, server_time + ended - now)
        return rescued

    def note_outage(self) -> None:
        """The database was away: leases are rescued only after it has been reachable for one whole lease again."""
        self._reachable_since = None

    def _missed_time(self, now: float, server_time: float) -> bool:
        """Returns whether this process or the server stood still since the last run, or the server's clock was changed.

        Then leases are expired whose workers had no chance to renew them.
        """
        if self._last_run is None:
            return False
        passed = now - self._last_run[0], server_time - self._last_run[1]
        return not all(0 <= seconds < MAX_GAP_SECONDS for seconds in passed)

    async def _rescue(self) -> int:
        rescued = await task_queue.rescue(self._database, jitter=self._jitter(), lease_seconds=self._lease_seconds)
        if rescued.locked:
            log.warning(
                "Tasks with expired leases are locked by other transactions.",
                event_name="lease.skipped",
                count=rescued.locked,
            )
        return rescued.again + rescued.ended

"""Compares every acceptance with its extraction or tombstone, and reports differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import NO_METRICS, PAUSE_FACTOR, Figure, MaintenanceMetrics
from db.acceptance import acceptance_audit
from db.acceptance.acceptance_audit import STATES, Balance

log = structlog.get_logger()


class AcceptanceAuditor:
    """clock: monotonic seconds."""

    name = "ledger"
    period_seconds = 60.0

    def __init__(self, database: AsyncEngine, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock
        self._next_at = -math.inf

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns the number of differences; 0 when no comparison is due."""
        started = self._clock()
        if started < self._next_at:
            return 0
        balance = (await acceptance_audit.compare(self._database)).total
        ended = self._clock()
        self._next_at = ended + PAUSE_FACTOR * (ended - started)
        await acceptance_audit.record(self._database, balance)
        metrics.measured(ledger_figures(balance))
        if balance.difference_count:
            found = {str(difference.extraction_id): difference.why for difference in balance.differences}
            log.error("The ledger has differences.", event_name="ledger.mismatched", differences=found)
        return balance.difference_count


def ledger_figures(balance: Balance) -> Sequence[Figure]:
    """What became of everything accepted."""
    states = {state: getattr(balance, state) for state in STATES}
    return [
        *(
            Figure("fotograma_ledger_extractions", "Accepted extractions by what became of them.", count, state)
            for state, count in states.items()
        ),
        Figure("fotograma_ledger_accepted", "Extractions ever accepted.", balance.accepted),
        Figure("fotograma_ledger_differences", "Acceptances of which nothing is known.", balance.difference_count),
    ]

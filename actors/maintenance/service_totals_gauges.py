"""Tells accounts, storage and connections as metrics: numbers of the whole service, of which none names an account."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import NO_METRICS, PAUSE_FACTOR, Figure, MaintenanceMetrics
from db import service_totals
from db.object_store.object_store import ObjectStore
from db.service_totals import AccountTotals, DatabaseTotals, StorageTotals


class ServiceTotalsGauges:
    """clock: monotonic seconds."""

    name = "overview"
    period_seconds = 15.0

    def __init__(self, database: AsyncEngine, objects: ObjectStore, clock: Callable[[], float]) -> None:
        self._database, self._objects, self._clock = database, objects, clock
        self._next_at = -math.inf

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns 0: nothing is changed. Sums over large tables are made at most a twentieth of the time."""
        metrics.measured(database_figures(await service_totals.database_totals(self._database)))
        started = self._clock()
        if started < self._next_at:
            return 0
        metrics.measured(account_figures(await service_totals.account_totals(self._database)))
        metrics.measured(storage_figures(await service_totals.storage_totals(self._database)))
        if (free_bytes := await self._objects.free_bytes()) is not None:
            free = "Free space of the object store, when it is a folder."
            metrics.measured([Figure("fotograma_storage_free_bytes", free, free_bytes)])
        ended = self._clock()
        self._next_at = ended + PAUSE_FACTOR * (ended - started)
        return 0


def account_figures(totals: AccountTotals) -> Iterator[Figure]:
    """How many accounts there are and use the service, and how even the use is."""
    described = "Accounts by whether they may log in."
    yield Figure("fotograma_accounts", described, totals.enabled, "enabled")
    yield Figure("fotograma_accounts", described, totals.disabled, "disabled")
    active = "Accounts for which something was accepted in the last {}."
    yield Figure("fotograma_accounts_active_day", active.format("day"), totals.active_day)
    yield Figure("fotograma_accounts_active_week", active.format("7 days"), totals.active_week)
    yield Figure(
        "fotograma_accounts_with_open_tasks", "Accounts of which tasks are ready or run.", totals.with_open_tasks
    )
    yield Figure(
        "fotograma_open_tasks_largest_share_ratio",
        "The part of all open tasks that one account has, at most.",
        totals.largest_open_share,
    )


def storage_figures(totals: StorageTotals) -> Iterator[Figure]:
    """What is stored."""
    for kind in ("videos", "results", "uploads"):
        yield Figure("fotograma_storage_bytes", "Stored bytes by what they are.", getattr(totals, kind), kind=kind)
    yield Figure(
        "fotograma_storage_largest_share_ratio",
        "The part of all stored bytes that one account has, at most.",
        totals.largest_share,
    )


def database_figures(totals: DatabaseTotals) -> Iterator[Figure]:
    """Connections to PostgreSQL, as the server counts them."""
    for one in totals.connections:
        for state in ("in_use", "idle"):
            count = getattr(one, state)
            described = "Connections to PostgreSQL, by the part of the service that has them."
            yield Figure("fotograma_database_connections", described, count, state, one.kind)
    yield Figure("fotograma_database_connections_limit", "The most connections that PostgreSQL takes.", totals.limit)

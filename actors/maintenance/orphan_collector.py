"""Finds orphaned objects, to which no row refers, and adds them to the garbage."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import NO_METRICS, MaintenanceMetrics
from db.object_store import object_keys, orphaned_objects
from db.object_store.object_store import ObjectStore

ORPHAN_PAGE = 500
"""Objects that one run looks at. The store is scanned slowly, again and again."""
ORPHAN_AGE_SECONDS = 24 * 3600.0
"""A younger object may still get its row."""
PREFIXES = ("videos", "results")


class OrphanCollector:
    """Each run scans one page of the store, from where the last run ended. clock: seconds since the epoch."""

    name = "orphans"
    period_seconds = 10.0

    def __init__(self, database: AsyncEngine, objects: ObjectStore, clock: Callable[[], float]) -> None:
        self._database, self._objects, self._clock = database, objects, clock
        self._position: tuple[str, str | None] = (PREFIXES[0], None)

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns how many orphaned objects were found."""
        prefix, after = self._position
        page = await self._objects.page(prefix, after, ORPHAN_PAGE)
        old = [listed.key for listed in page if listed.written < self._clock() - ORPHAN_AGE_SECONDS]
        disowned = await orphaned_objects.disown(self._database, object_keys.candidates(old)) if old else []
        if page:
            self._position = (prefix, page[-1].key)
        else:
            self._position = (PREFIXES[(PREFIXES.index(prefix) + 1) % len(PREFIXES)], None)
        return len(disowned)

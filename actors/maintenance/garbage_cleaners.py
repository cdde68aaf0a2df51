"""Deletes unused objects: of abandoned uploads, of deleted videos, and of lost attempts."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.maintenance_job import NO_METRICS, MaintenanceMetrics
from db.acceptance import object_reservations, resumable_uploads
from db.object_store import garbage_collection
from db.object_store.object_store import ObjectStore

RESERVATION_SECONDS = 24 * 3600.0
"""An upload that is not accepted after this time is abandoned."""


class AbandonedUploadCleaner:
    """Ends uploads by tus that have expired, and deletes the objects of other uploads that were never accepted."""

    name = "abandon"
    period_seconds = 30.0

    def __init__(self, database: AsyncEngine, objects: ObjectStore) -> None:
        self._database, self._objects = database, objects

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns how many uploads were cleaned up."""
        expired = await resumable_uploads.discard_expired(self._database)
        keys = await object_reservations.abandon_expired(self._database, seconds=RESERVATION_SECONDS)
        for key in keys:
            await self._objects.delete(key)
        await object_reservations.delete_abandoned(self._database, keys)
        return expired + len(keys)


class GarbageCleaner:
    """Deletes the objects of deleted videos once no worker can still be writing them."""

    name = "garbage"
    period_seconds = 30.0

    def __init__(self, database: AsyncEngine, objects: ObjectStore, lease_seconds: float) -> None:
        self._database, self._objects, self._lease_seconds = database, objects, lease_seconds

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns how many garbage rows were cleaned up."""
        keys = await garbage_collection.garbage(self._database, seconds=2 * self._lease_seconds)
        for key in keys:
            for found in await self._objects.keys(key) if key.endswith("/") else [key]:
                await self._objects.delete(found)
        await garbage_collection.forget_garbage(self._database, keys)
        return len(keys)


class LostAttemptCleaner:
    """Deletes the objects of lost attempts of ended extractions. The result's objects stay."""

    name = "sweep"
    period_seconds = 30.0

    def __init__(self, database: AsyncEngine, objects: ObjectStore, lease_seconds: float) -> None:
        self._database, self._objects, self._lease_seconds = database, objects, lease_seconds

    async def run(self, metrics: MaintenanceMetrics = NO_METRICS) -> int:
        """Returns how many objects were deleted."""
        ended = await garbage_collection.unswept(self._database, seconds=2 * self._lease_seconds)
        deleted = 0
        for extraction in ended:
            for key in await self._objects.keys(f"results/{extraction.extraction_id}"):
                if extraction.kept is None or not key.startswith(extraction.kept + "/"):
                    await self._objects.delete(key)
                    deleted += 1
        await garbage_collection.mark_swept(self._database, [extraction.extraction_id for extraction in ended])
        return deleted

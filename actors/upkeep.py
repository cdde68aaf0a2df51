"""The keeper's work: rescue late leases, deliver what is owed, remove what nobody will ask for again.

Each duty has its own period and fails for itself. Safe when two keepers run: every step is idempotent or locked.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.notify.sender import Sender
from db import database as databases
from db import idempotency, queue, upkeep
from db.database import is_outage
from db.objects import ObjectStore

RESCUE_SECONDS = 5.0
NOTIFY_SECONDS = 1.0
CLEAN_SECONDS = 30.0
EXPIRE_SECONDS = 600.0
RESERVATION_SECONDS = 24 * 3600.0
"""After this long an upload that was not accepted counts as abandoned."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Duty:
    """Something done again and again. run: returns how many things it did."""

    name: str
    period_seconds: float
    run: Callable[[], Awaitable[int]]


class Upkeep:
    def __init__(
        self,
        database: AsyncEngine,
        objects: ObjectStore,
        sender: Sender,
        *,
        lease_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database, self._objects, self._sender = database, objects, sender
        self._lease_seconds, self._clock, self._jitter = lease_seconds, clock, jitter
        self._reachable_since: float | None = None

    def duties(self) -> tuple[Duty, ...]:
        return (
            Duty("rescue", RESCUE_SECONDS, self.rescue),
            Duty("notify", NOTIFY_SECONDS, self._sender.run_once),
            Duty("abandon", CLEAN_SECONDS, self.remove_abandoned),
            Duty("sweep", CLEAN_SECONDS, self.sweep),
            Duty("garbage", CLEAN_SECONDS, self.remove_garbage),
            Duty("expire", EXPIRE_SECONDS, self.expire),
        )

    async def run(self) -> None:
        """Does all duties until cancelled."""
        async with asyncio.TaskGroup() as group:
            for duty in self.duties():
                group.create_task(self._repeat(duty))

    async def rescue(self) -> int:
        """Takes late leases away, but only after the database was reachable for one whole lease."""
        await databases.check(self._database)
        now = self._clock()
        if self._reachable_since is None:
            self._reachable_since = now
        if now - self._reachable_since < self._lease_seconds:
            return 0
        rescued = await queue.rescue(self._database, jitter=self._jitter(), lease_seconds=self._lease_seconds)
        return rescued.again + rescued.ended

    async def remove_abandoned(self) -> int:
        keys = await upkeep.abandoned_objects(self._database, seconds=RESERVATION_SECONDS)
        for key in keys:
            await self._objects.delete(key)
        await upkeep.forget_reservations(self._database, keys)
        return len(keys)

    async def remove_garbage(self) -> int:
        """Removes the objects of deleted videos once no worker can still be writing them."""
        keys = await upkeep.garbage(self._database, seconds=2 * self._lease_seconds)
        for key in keys:
            for found in await self._objects.keys(key) if key.endswith("/") else [key]:
                await self._objects.delete(found)
        await upkeep.forget_garbage(self._database, keys)
        return len(keys)

    async def sweep(self) -> int:
        """Removes what lost attempts of ended extractions have left."""
        ended = await upkeep.unswept(self._database, seconds=2 * self._lease_seconds)
        removed = 0
        for extraction in ended:
            for key in await self._objects.keys(f"results/{extraction.extraction_id}"):
                if extraction.kept is None or not key.startswith(extraction.kept + "/"):
                    await self._objects.delete(key)
                    removed += 1
        await upkeep.mark_swept(self._database, [extraction.extraction_id for extraction in ended])
        return removed

    async def expire(self) -> int:
        return await idempotency.expire(self._database) + await upkeep.forget_sessions(self._database)

    async def _repeat(self, duty: Duty) -> None:
        while True:
            try:
                if done := await duty.run():
                    log.info("The keeper did its duty.", event_name=f"keeper.{duty.name}", count=done)
            except Exception as error:
                # Recorded and tried again: no duty may end with one bad turn, nor stop the others.
                if is_outage(error):
                    self._reachable_since = None
                log.exception("A duty of the keeper failed.", event_name="keeper.failed", duty=duty.name)
            await asyncio.sleep(duty.period_seconds * (0.75 + self._jitter() / 2))

"""The keeper's work: rescue late leases, deliver what is owed, remove what nobody will ask for again.

Each duty has its own period and fails for itself. Safe when two keepers run: every step is idempotent or locked.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.notify.outbox_sender import OutboxSender
from actors.notify.redis_stream_relay import StreamRelay
from db import accounts
from db import connection as databases
from db.acceptance import idempotency_keys, ledger_reconciliation, reservations
from db.acceptance.ledger_reconciliation import Balance
from db.connection import is_contention, is_outage
from db.object_store import garbage_collection, object_keys, orphaned_objects
from db.object_store.object_store import ObjectStore
from db.queue import fair_queueing, repair, task_queue

RESCUE_SECONDS = 5.0
STILL_SECONDS = 3 * RESCUE_SECONDS
"""A keeper whose turns lie further apart has not seen what was between them."""
NOTIFY_SECONDS = 1.0
STREAM_SECONDS = 0.5
CLEAN_SECONDS = 30.0
EXPIRE_SECONDS = 600.0
REPAIR_SECONDS = 300.0
ORPHAN_SECONDS = 10.0
ORPHAN_PAGE = 500
"""Objects that are looked at in one turn; so the store is gone through slowly, again and again."""
ORPHAN_AGE_SECONDS = 24 * 3600.0
STORED = ("videos", "results")
ADMIT_SECONDS = 30.0
LEDGER_SECONDS = 60.0
LEDGER_SHARE = 20
"""The ledger is compared again only after this many times what the comparison took."""
RESERVATION_SECONDS = 24 * 3600.0
"""After this long an upload that was not accepted counts as abandoned."""

PROMPT = ("rescue", "notify")
STUCK_SECONDS = 300.0
"""Far more than a hundred rescues take, each waiting for a lock."""

log = structlog.get_logger()


class MaintenanceStalledError(Exception):
    """A duty has not come round for too long."""


@dataclass(frozen=True, slots=True)
class MaintenanceJob:
    """Something done again and again. run: returns how many things it did."""

    name: str
    period_seconds: float
    run: Callable[[], Awaitable[int]]


class MaintenanceMetrics(Protocol):
    """Where the keeper's figures go."""

    def acted(self, action: str, count: int) -> None:
        """A duty did something `count` times."""

    def balanced(self, balance: Balance) -> None:
        """The ledger was compared."""


class NoMetrics:
    """For a keeper that nobody measures."""

    def acted(self, action: str, count: int) -> None: ...

    def balanced(self, balance: Balance) -> None: ...


class Maintenance:
    """running_limit: open tasks of an account; None: as it was last set. relay: None where no stream is fed."""

    def __init__(
        self,
        database: AsyncEngine,
        objects: ObjectStore,
        sender: OutboxSender,
        *,
        lease_seconds: float,
        running_limit: int | None = None,
        relay: StreamRelay | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database, self._objects, self._sender, self._relay = database, objects, sender, relay
        self._wall_clock, self._running_limit = wall_clock, running_limit
        self._lease_seconds, self._clock, self._jitter = lease_seconds, clock, jitter
        self._reachable_since: float | None = None
        self._reached_at: tuple[float, float] | None = None
        self._turned_at: dict[str, float] = {}
        self._meters: MaintenanceMetrics = NoMetrics()
        self._looked_at: tuple[str, str | None] = (STORED[0], None)
        self._compared_again_at = -math.inf

    def duties(self) -> tuple[MaintenanceJob, ...]:
        streaming = () if self._relay is None else (MaintenanceJob("stream", STREAM_SECONDS, self._relay.run_once),)
        return (
            MaintenanceJob("rescue", RESCUE_SECONDS, self.rescue),
            MaintenanceJob("notify", NOTIFY_SECONDS, self._sender.turn),
            MaintenanceJob("abandon", CLEAN_SECONDS, self.remove_abandoned),
            MaintenanceJob("sweep", CLEAN_SECONDS, self.sweep),
            MaintenanceJob("garbage", CLEAN_SECONDS, self.remove_garbage),
            MaintenanceJob("expire", EXPIRE_SECONDS, self.expire),
            MaintenanceJob("orphans", ORPHAN_SECONDS, self.find_orphans),
            MaintenanceJob("admit_throttled", ADMIT_SECONDS, self.admit_throttled),
            MaintenanceJob("repair", REPAIR_SECONDS, self.repair),
            MaintenanceJob("ledger", LEDGER_SECONDS, self.compare),
            *streaming,
        )

    async def run(self, meters: MaintenanceMetrics | None = None) -> None:
        """Does all duties until cancelled."""
        self._meters = meters or NoMetrics()
        try:
            async with asyncio.TaskGroup() as group:
                for duty in self.duties():
                    group.create_task(self._repeat(duty))
        finally:
            await self._sender.close()

    def check(self) -> None:
        """Raises Stuck when a duty that nobody else does, and that is short, has not come round for too long."""
        for name in PROMPT:
            silent = self._clock() - self._turned_at.get(name, self._clock())
            if silent > STUCK_SECONDS:
                raise MaintenanceStalledError(f"{name} has not come round for {silent:.0f} s")

    async def rescue(self) -> int:
        """Takes late leases away, but only after the database was reachable for one whole lease."""
        theirs = await databases.check(self._database)
        ours = self._clock()
        if self._reachable_since is None or self._was_away(ours, theirs):
            self._reachable_since = ours
        rescued = 0
        if ours - self._reachable_since >= self._lease_seconds:
            rescued = await self._rescue()
        ended = self._clock()
        self._reached_at = (ended, theirs + ended - ours)
        return rescued

    def _was_away(self, ours: float, theirs: float) -> bool:
        """Whether this process or the server stood still since the last turn, or the server's clock was put on: then
        leases are late whose holders had no chance to renew them."""
        if self._reached_at is None:
            return False
        passed = ours - self._reached_at[0], theirs - self._reached_at[1]
        return not all(0 <= seconds < STILL_SECONDS for seconds in passed)

    async def _rescue(self) -> int:
        rescued = await task_queue.rescue(self._database, jitter=self._jitter(), lease_seconds=self._lease_seconds)
        if rescued.locked:
            log.warning("Late tasks are locked.", event_name="keeper.locked", count=rescued.locked)
        return rescued.again + rescued.ended

    async def remove_abandoned(self) -> int:
        keys = await reservations.abandon_expired(self._database, seconds=RESERVATION_SECONDS)
        for key in keys:
            await self._objects.delete(key)
        await reservations.delete_abandoned(self._database, keys)
        return len(keys)

    async def remove_garbage(self) -> int:
        """Removes the objects of deleted videos once no worker can still be writing them."""
        keys = await garbage_collection.garbage(self._database, seconds=2 * self._lease_seconds)
        for key in keys:
            for found in await self._objects.keys(key) if key.endswith("/") else [key]:
                await self._objects.delete(found)
        await garbage_collection.forget_garbage(self._database, keys)
        return len(keys)

    async def sweep(self) -> int:
        """Removes what lost attempts of ended extractions have left."""
        ended = await garbage_collection.unswept(self._database, seconds=2 * self._lease_seconds)
        removed = 0
        for extraction in ended:
            for key in await self._objects.keys(f"results/{extraction.extraction_id}"):
                if extraction.kept is None or not key.startswith(extraction.kept + "/"):
                    await self._objects.delete(key)
                    removed += 1
        await garbage_collection.mark_swept(self._database, [extraction.extraction_id for extraction in ended])
        return removed

    async def expire(self) -> int:
        """Removes what is over: idempotency keys, sessions, and what writers that died left half-written."""
        rows = await idempotency_keys.expire(self._database) + await accounts.delete_expired_sessions(self._database)
        return rows + await self._objects.discard_unfinished(ORPHAN_AGE_SECONDS)

    async def find_orphans(self) -> int:
        """Goes on through the store from where the last turn ended: objects of no row become garbage."""
        prefix, after = self._looked_at
        page = await self._objects.page(prefix, after, ORPHAN_PAGE)
        old = [dated.key for dated in page if dated.written < self._wall_clock() - ORPHAN_AGE_SECONDS]
        disowned = await orphaned_objects.disown(self._database, object_keys.candidates(old)) if old else []
        if page:
            self._looked_at = (prefix, page[-1].key)
        else:
            self._looked_at = (STORED[(STORED.index(prefix) + 1) % len(STORED)], None)
        return len(disowned)

    async def admit_throttled(self) -> int:
        """Admits throttled tasks that were left although their account has a slot free. Sets the limit at its first
        turn, and not again: of two keepers the one that began later has the newer settings."""
        if self._running_limit is not None:
            await fair_queueing.set_running_limit(self._database, self._running_limit)
            self._running_limit = None
        await self.recount()
        return await fair_queueing.admit_throttled(self._database)

    async def recount(self) -> int:
        """Corrects the open tasks that shares count wrongly; of how many accounts."""
        wrong = await fair_queueing.recount(self._database)
        for drift in wrong:
            log.warning(
                "A share counted its open tasks wrongly.",
                event_name="keeper.drift",
                user=str(drift.user_id),
                said=drift.said,
                counted=drift.counted,
            )
        if wrong:
            self._meters.acted("recount", len(wrong))
        return len(wrong)

    async def repair(self) -> int:
        """Requeues or fails what is stuck, and cancels tasks that have outlived their extraction."""
        repaired = await repair.repair(self._database)
        count = repaired.requeued + repaired.failed + repaired.outlived
        if count:
            log.warning("Stuck work was found.", event_name="keeper.stuck", **asdict(repaired))
        return count

    async def compare(self) -> int:
        """Holds the acceptances against what became of them; gives the differences."""
        began = self._clock()
        if began < self._compared_again_at:
            return 0
        balance = (await ledger_reconciliation.compare(self._database)).total
        ended = self._clock()
        self._compared_again_at = ended + LEDGER_SHARE * (ended - began)
        self._meters.balanced(balance)
        if balance.difference_count:
            found = {str(difference.extraction_id): difference.why for difference in balance.differences}
            log.error("The ledger has differences.", event_name="ledger.differs", differences=found)
        return balance.difference_count

    async def turn(self, duty: MaintenanceJob) -> None:
        """Does a duty once. A failure is recorded: no duty may end with one bad turn, nor stop the others."""
        self._turned_at[duty.name] = self._clock()
        try:
            if done := await duty.run():
                self._meters.acted(duty.name, done)
                log.info("The keeper did its duty.", event_name=f"keeper.{duty.name}", count=done)
        except Exception as error:
            if is_outage(error) and not is_contention(error):
                self._reachable_since = None
            log.exception("A duty of the keeper failed.", event_name="keeper.failed", duty=duty.name)

    async def _repeat(self, duty: MaintenanceJob) -> None:
        while True:
            await self.turn(duty)
            await asyncio.sleep(duty.period_seconds * (0.75 + self._jitter() / 2))

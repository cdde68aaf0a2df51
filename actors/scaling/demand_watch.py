"""Keeps the latest demand of the queue in memory, read by a thread of its own.

Serve's autoscaling policy runs in the loop of Serve's controller, where nothing may block.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.plan.decode_deadline import USUAL_DECODED_PIXELS_PER_SECOND
from actors.plan.segment_split import SEGMENT_SHARE
from actors.scaling.replica_decision import Demand
from db import operator_controls
from db.connection import open_database
from db.operator_controls import ScalingOrders, WorkerLimits, scaling_name
from db.queue import queue_demand
from db.queue.queue_demand import QueueDemand
from db.queue.worker_kinds import sign_of_kind
from db.values.worker_kind import WorkerKind

POLL_SECONDS = 1.0
NO_ORDERS = ScalingOrders(is_paused=False, limits=WorkerLimits())

log = structlog.get_logger()


class _Latest:
    """What the thread and the watch share. The thread must not refer to the watch, or the watch would never end."""

    def __init__(self) -> None:
        self.demand: Demand | None = None
        self.orders = NO_ORDERS
        self.stop = threading.Event()


class DemandWatch:
    """Reads the demand for one kind of workers every second from its first use on, until nobody refers to it any more.

    database_url: called in the thread. segment_seconds: the setting. clock: that of the demand's `taken_at`.
    """

    def __init__(
        self,
        database_url: Callable[[], str],
        *,
        kind: WorkerKind = WorkerKind.CPU,
        segment_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._latest = _Latest()
        self._thread = threading.Thread(
            target=_watch,
            args=[self._latest, database_url, kind, segment_seconds, clock],
            name="queue demand",
            daemon=True,
        )
        self._is_started = False
        weakref.finalize(self, self._latest.stop.set)

    @property
    def demand(self) -> Demand | None:
        """The latest demand, however old; None while there is none. Never blocks."""
        if not self._is_started:
            self._is_started = True
            self._thread.start()
        return self._latest.demand

    @property
    def orders(self) -> ScalingOrders:
        """The latest orders of operators, read together with the demand."""
        return self._latest.orders


def _watch(
    latest: _Latest,
    database_url: Callable[[], str],
    kind: WorkerKind,
    segment_seconds: float,
    clock: Callable[[], float],
) -> None:
    asyncio.run(_read_until_stopped(latest, database_url, kind, segment_seconds, clock))


async def _read_until_stopped(
    latest: _Latest,
    database_url: Callable[[], str],
    kind: WorkerKind,
    segment_seconds: float,
    clock: Callable[[], float],
) -> None:
    database: AsyncEngine | None = None
    is_lost = False
    try:
        while not latest.stop.is_set():
            asked_at = clock()
            try:
                database = database or open_database(database_url(), name=scaling_name(kind), connections=1)
                orders = await operator_controls.scaling_orders(database, kind)
                # Nothing is left to a pool that may have no worker.
                if kind is not WorkerKind.CPU and orders.limits.max_workers != 0:
                    await sign_of_kind(database, kind)
                by_kind = await queue_demand.demand(
                    database,
                    pixels_per_second=USUAL_DECODED_PIXELS_PER_SECOND,
                    segment_seconds=segment_seconds * SEGMENT_SHARE,
                )
            except Exception as error:  # noqa: BLE001 - of any kind: the demand becomes stale
                if not is_lost:
                    log.warning("The queue's demand can't be read.", event_name="database.lost", error=str(error))
                is_lost = True
            else:
                latest.orders = orders
                # Its age counts from the question, so that a slow answer is not taken for a new one.
                latest.demand = demand_of(by_kind[kind], asked_at)
                is_lost = False
            await asyncio.sleep(POLL_SECONDS)
    finally:
        if database is not None:
            await database.dispose()


def demand_of(found: QueueDemand, taken_at: float) -> Demand:
    """The demand for the decision. Work that was passed on asks for one worker of its own kind and no time of it: so a
    pool without workers goes on trying, however long its nodes take to come.
    """
    ready = max(found.ready, min(found.passed_on, 1))
    return Demand(ready, found.ready_seconds, found.oldest_seconds, found.running, taken_at)

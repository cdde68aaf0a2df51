"""The watch on the queue's demand: in a thread, never blocking, and silent about an outage only once."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from actors.scaling.demand_watch import NO_ORDERS, DemandWatch, demand_of
from actors.scaling.replica_decision import Demand
from db import operator_controls
from db.operator_controls import ScalingOrders, WorkerLimits
from db.queue.queue_demand import QueueDemand
from db.values.lifecycle import PausableActivity
from db.values.worker_kind import GPU_WORK_BYTES, WorkerKind
from tests.support.state import database_rows
from tests.support.wait_conditions import wait_until


@pytest.fixture(autouse=True)
def quick_polls(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The threads end before their database goes: what they say about that would be in the log of the next test."""
    monkeypatch.setattr("actors.scaling.demand_watch.POLL_SECONDS", 0.05)
    others = watching_threads()
    yield
    gc.collect()
    for thread in watching_threads() - others:
        thread.join(30)


def watching_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "queue demand"}


def start_watch(database: AsyncEngine) -> DemandWatch:
    """A watch whose thread runs. It may ask the database when it has shown that it has no demand yet."""
    may_ask = threading.Event()

    def url() -> str:
        may_ask.wait()
        return database.url.render_as_string(hide_password=False)

    watch = DemandWatch(url, segment_seconds=300)
    assert watch.demand is None
    may_ask.set()
    return watch


async def test_watch_follows_the_queue(database: AsyncEngine) -> None:
    before = time.monotonic()
    watch = start_watch(database)

    async def sees(ready: int) -> bool:
        return watch.demand is not None and watch.demand.ready == ready

    await wait_until(lambda: sees(0))
    await database_rows.accept_video(database)
    await wait_until(lambda: sees(1))
    assert watch.demand is not None
    assert before <= watch.demand.taken_at <= time.monotonic()


async def test_watch_of_the_gpu_pool_says_that_there_is_one(database: AsyncEngine) -> None:
    """So big work is left to it from then on, although it has no worker yet."""
    url = database.url.render_as_string(hide_password=False)
    gpu, cpu = (DemandWatch(lambda: url, kind=kind, segment_seconds=300) for kind in (WorkerKind.GPU, WorkerKind.CPU))

    async def sees(gpu_ready: int, cpu_ready: int) -> bool:
        found = (gpu.demand, cpu.demand)
        return [one and one.ready for one in found] == [gpu_ready, cpu_ready]

    await wait_until(lambda: sees(0, 0))
    await database_rows.accept_video(database, size=GPU_WORK_BYTES)
    await database_rows.accept_video(database, size=1000)
    await wait_until(lambda: sees(1, 1))


async def test_nothing_is_left_to_a_pool_that_may_have_no_worker(database: AsyncEngine) -> None:
    await operator_controls.set_limits(database, WorkerKind.GPU, WorkerLimits(0, 0))
    url = database.url.render_as_string(hide_password=False)
    watch = DemandWatch(lambda: url, kind=WorkerKind.GPU, segment_seconds=300)

    async def has_read() -> bool:
        return watch.demand is not None

    await wait_until(has_read)
    accepted = await database_rows.accept_video(database, size=GPU_WORK_BYTES)
    assert (await database_rows.fetch_task(database, accepted.task_id)).prefers == "cpu"


def test_work_that_was_passed_on_asks_for_one_worker_and_no_time() -> None:
    assert demand_of(QueueDemand(passed_on=7, running=2), 5.0) == Demand(1, 0.0, 0.0, 2, 5.0)
    assert demand_of(QueueDemand(3, 30.0, 4.0, 2, passed_on=7), 5.0) == Demand(3, 30.0, 4.0, 2, 5.0)


async def test_watch_follows_the_orders_of_operators(database: AsyncEngine) -> None:
    watch = start_watch(database)
    await operator_controls.set_limits(database, WorkerKind.CPU, WorkerLimits(2, 7))
    await operator_controls.set_paused(database, PausableActivity.CLAIMING, is_paused=True)

    async def sees(orders: ScalingOrders) -> bool:
        return watch.orders == orders

    await wait_until(lambda: sees(ScalingOrders(is_paused=True, limits=WorkerLimits(2, 7))))
    assert await operator_controls.is_scaled(database, WorkerKind.CPU)
    await operator_controls.reset_limits(database, WorkerKind.CPU)
    await operator_controls.set_paused(database, PausableActivity.CLAIMING, is_paused=False)
    await wait_until(lambda: sees(NO_ORDERS))


async def test_thread_ends_with_its_watch(database: AsyncEngine) -> None:
    others = watching_threads()
    watch = start_watch(database)
    (own,) = watching_threads() - others
    del watch
    gc.collect()
    await asyncio.to_thread(own.join, 60)
    assert not own.is_alive()


async def test_outage_leaves_the_last_demand_and_is_logged_once(database: AsyncEngine) -> None:
    await database_rows.accept_video(database)
    watch = start_watch(database)

    async def sees_one() -> bool:
        return watch.demand is not None and watch.demand.ready == 1

    await wait_until(sees_one)
    with capture_logs() as logs:
        await database_rows.execute(database, "ALTER TABLE tasks RENAME TO hidden")

        async def is_logged() -> bool:
            return bool(logs)

        await wait_until(is_logged)
        assert watch.demand is not None
        last = watch.demand.taken_at
        await asyncio.sleep(0.3)
        await database_rows.execute(database, "ALTER TABLE hidden RENAME TO tasks")

        async def sees_again() -> bool:
            return watch.demand is not None and watch.demand.taken_at > last

        await wait_until(sees_again)
    assert [line["event_name"] for line in logs] == ["database.lost"]

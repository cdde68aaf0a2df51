"""Objects without a row are removed after a day; all other objects stay."""

import asyncio
import time

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from actors.maintenance import orphan_collector
from actors.maintenance.maintenance_loop import Maintenance
from db.acceptance import object_reservations
from db.object_store.object_keys import result_prefix, video_key
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from db.queue.task_queue import Publication
from tests.support.clients.api_client import one_chunk
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted
from tests.support.state.notification_setup import make_outbox_sender
from tests.support.state.queue_steps import claim_one

DAY_SECONDS = 24 * 3600.0


def make_maintenance_later(
    database: AsyncEngine, store: ObjectStore, later_seconds: float = 2 * DAY_SECONDS
) -> Maintenance:
    return Maintenance(
        database,
        store,
        make_outbox_sender(database),
        lease_seconds=0.0,
        jitter=lambda: 0.0,
        wall_clock=lambda: time.time() + later_seconds,
    )


async def store_objects(store: ObjectStore, *keys: str) -> set[str]:
    for key in keys:
        await store.put(key, one_chunk(b"data"))
    return set(keys)


async def collect_orphans(maintenance: Maintenance, runs: int = 12) -> int:
    """Runs the job often enough to read every page of object keys; returns how many orphans it found."""
    return sum([await maintenance.orphan_collector.run() for _ in range(runs)])


async def accept_and_publish(database: AsyncEngine) -> tuple[Accepted, str]:
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    prefix = result_prefix(accepted.extraction_id, accepted.task_id, lease.attempt)
    await task_queue.publish(database, lease, Publication(prefix, "auto/1", 1, 4, "f" * 64, []))
    return accepted, prefix


async def test_orphans_are_deleted_and_referenced_objects_stay(
    database: AsyncEngine, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphan_collector, "ORPHAN_PAGE", 2)
    published, result_key = await accept_and_publish(database)
    queued = await database_rows.accept_video(database)
    reserved = video_key(uuid7())
    await object_reservations.reserve(database, published.user_id, reserved)
    referenced = await store_objects(
        store,
        video_key(published.video_id),
        video_key(queued.video_id),
        reserved,
        f"{result_key}/frames.zip",
        f"{result_prefix(queued.extraction_id, queued.task_id, 1)}/frames.zip",
    )
    foreign = await store_objects(store, "videos/readme.txt", "results/notes/x")
    later_attempt = result_prefix(published.extraction_id, published.task_id, 9)
    orphans = await store_objects(
        store, video_key(uuid7()), f"results/{uuid7()}/{uuid7()}/1/frames.zip", f"{later_attempt}/frames.zip"
    )
    maintenance = make_maintenance_later(database, store)
    await database_rows.execute(
        database, "UPDATE extractions SET swept = true WHERE id = :id", id=published.extraction_id
    )
    assert await collect_orphans(maintenance) == len(orphans)
    assert await maintenance.garbage_cleaner.run() == len(orphans)
    assert {*await store.keys("videos"), *await store.keys("results")} == referenced | foreign
    assert await collect_orphans(maintenance) == 0


async def test_new_object_is_not_an_orphan(database: AsyncEngine, store: ObjectStore) -> None:
    await store_objects(store, video_key(uuid7()))
    assert await collect_orphans(make_maintenance_later(database, store, later_seconds=DAY_SECONDS - 60)) == 0


async def test_two_maintenance_processes_find_each_orphan_once(database: AsyncEngine, store: ObjectStore) -> None:
    await store_objects(store, *(video_key(uuid7()) for _ in range(20)))
    processes = [make_maintenance_later(database, store) for _ in range(2)]
    assert sum(await asyncio.gather(*(collect_orphans(maintenance) for maintenance in processes))) == 20
    await asyncio.gather(*(maintenance.garbage_cleaner.run() for maintenance in processes))
    assert await store.keys("videos") == []

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

DAY = 24 * 3600.0


def maintenance_of(database: AsyncEngine, store: ObjectStore, later: float = 2 * DAY) -> Maintenance:
    return Maintenance(
        database,
        store,
        make_outbox_sender(database),
        lease_seconds=0.0,
        jitter=lambda: 0.0,
        wall_clock=lambda: time.time() + later,
    )


async def put(store: ObjectStore, *keys: str) -> set[str]:
    for key in keys:
        await store.put(key, one_chunk(b"data"))
    return set(keys)


async def turns(maintenance: Maintenance, count: int = 12) -> int:
    return sum([await maintenance.orphan_collector.run() for _ in range(count)])


async def published(database: AsyncEngine) -> tuple[Accepted, str]:
    accepted = await database_rows.accept_video(database)
    lease = (await claim_one(database)).lease
    prefix = result_prefix(accepted.extraction_id, accepted.task_id, lease.attempt)
    await task_queue.publish(database, lease, Publication(prefix, "auto/1", 1, 4, "f" * 64, []))
    return accepted, prefix


async def test_orphans_are_deleted_and_referenced_objects_stay(
    database: AsyncEngine, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphan_collector, "ORPHAN_PAGE", 2)
    ended, kept = await published(database)
    waiting = await database_rows.accept_video(database)
    reserved = video_key(uuid7())
    await object_reservations.reserve(database, ended.user_id, reserved)
    known = await put(
        store,
        video_key(ended.video_id),
        video_key(waiting.video_id),
        reserved,
        f"{kept}/frames.zip",
        f"{result_prefix(waiting.extraction_id, waiting.task_id, 1)}/frames.zip",
    )
    strange = await put(store, "videos/readme.txt", "results/notes/x")
    late = result_prefix(ended.extraction_id, ended.task_id, 9)
    lost = await put(store, video_key(uuid7()), f"results/{uuid7()}/{uuid7()}/1/frames.zip", f"{late}/frames.zip")
    maintenance = maintenance_of(database, store)
    await database_rows.execute(database, "UPDATE extractions SET swept = true WHERE id = :id", id=ended.extraction_id)
    assert await turns(maintenance) == len(lost)
    assert await maintenance.garbage_cleaner.run() == len(lost)
    assert {*await store.keys("videos"), *await store.keys("results")} == known | strange
    assert await turns(maintenance) == 0


async def test_new_object_is_not_an_orphan(database: AsyncEngine, store: ObjectStore) -> None:
    await put(store, video_key(uuid7()))
    assert await turns(maintenance_of(database, store, later=DAY - 60)) == 0


async def test_two_maintenance_processes_find_each_orphan_once(database: AsyncEngine, store: ObjectStore) -> None:
    await put(store, *(video_key(uuid7()) for _ in range(20)))
    processes = [maintenance_of(database, store) for _ in range(2)]
    assert sum(await asyncio.gather(*(turns(maintenance) for maintenance in processes))) == 20
    await asyncio.gather(*(maintenance.garbage_cleaner.run() for maintenance in processes))
    assert await store.keys("videos") == []

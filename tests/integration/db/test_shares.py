"""Shares: maintenance applies the running limit and corrects wrong counts."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from actors.maintenance.maintenance_loop import Maintenance
from cluster.wiring import maintenance as wiring
from db.object_store.folder_store import FolderStore
from db.queue import fair_queueing, task_queue
from db.queue.fair_queueing import Drift
from db.queue.task_queue import Claim, LeaseLost
from tests.support.clients.api_client import SECRET
from tests.support.state import database_rows
from tests.support.state.maintenance_setup import RecordedMetrics, make_maintenance
from tests.support.state.queue_steps import (
    accept_many,
    cancel_extraction,
    claim_one,
    count_throttled_and_open,
    publish_result,
    share_and_real_open,
    split_extraction,
)


@pytest.fixture
def maintenance(database: AsyncEngine, tmp_path: Path) -> Maintenance:
    return make_maintenance(database, FolderStore(tmp_path / "objects"))


async def set_wrong_count(database: AsyncEngine, user_id: UUID, count: int) -> None:
    await database_rows.execute(
        database, "UPDATE shares SET open = :open WHERE user_id = :user_id", open=count, user_id=user_id
    )


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> pytest.MonkeyPatch:
    """The environment of a maintenance process; returns the monkeypatch that changes it."""
    values = {"DATABASE_URL": database_url, "OBJECTS_URL": f"file://{tmp_path}/objects", "SECRET_KEY": SECRET}
    for name, value in values.items():
        monkeypatch.setenv(f"FOTOGRAMA_{name}", value)
    monkeypatch.setattr(wiring, "log_as_json", lambda: None)
    return monkeypatch


async def test_maintenance_applies_the_running_limit_of_the_settings_and_admits_tasks(
    database: AsyncEngine, environment: pytest.MonkeyPatch
) -> None:
    user = await database_rows.create_user(database)
    environment.setenv("FOTOGRAMA_USER_RUNNING_MAX", "2")
    async with wiring.open_maintenance() as old:
        await old.share_reconciler.run()
        await accept_many(database, user, 5)
        assert await count_throttled_and_open(database, user) == (3, 2)
        environment.setenv("FOTOGRAMA_USER_RUNNING_MAX", "4")
        async with wiring.open_maintenance() as first, wiring.open_maintenance() as second:
            assert sum(await asyncio.gather(first.share_reconciler.run(), second.share_reconciler.run())) == 2
        assert await count_throttled_and_open(database, user) == (1, 4)
        await old.share_reconciler.run()
    assert (await database_rows.fetch_one(database, "SELECT running_limit FROM queue_state")).running_limit == 4


async def test_share_that_counts_too_many_is_corrected_and_admits_tasks(
    database: AsyncEngine, maintenance: Maintenance
) -> None:
    user = await database_rows.create_user(database)
    await fair_queueing.set_share(database, user, running_limit=2)
    await accept_many(database, user, 4)
    await set_wrong_count(database, user, 7)
    await publish_result(database, (await claim_one(database)).lease)
    assert await count_throttled_and_open(database, user) == (2, 1)
    assert await maintenance.share_reconciler.run() == 1
    assert await count_throttled_and_open(database, user) == (1, 2)
    assert await share_and_real_open(database, user) == (2, 2)


async def test_share_that_counts_too_few_refuses_ends_until_it_is_corrected(
    database: AsyncEngine, maintenance: Maintenance
) -> None:
    accepted = await database_rows.accept_video(database)
    other = await database_rows.accept_video(database)
    claims = [await claim_one(database), await claim_one(database)]
    await set_wrong_count(database, accepted.user_id, 0)
    (lease,) = [claim.lease for claim in claims if claim.extraction_id == accepted.extraction_id]
    with pytest.raises(IntegrityError):
        await publish_result(database, lease)
    assert await fair_queueing.recount(database) == [Drift(accepted.user_id, 0, 1)]
    await publish_result(database, lease)
    assert await share_and_real_open(database, accepted.user_id) == (0, 0)
    assert await share_and_real_open(database, other.user_id) == (1, 1)


async def test_corrected_share_is_counted_and_logged(database: AsyncEngine, maintenance: Maintenance) -> None:
    accepted = await database_rows.accept_video(database)
    await set_wrong_count(database, accepted.user_id, 3)
    with capture_logs() as logs:
        assert await maintenance.share_reconciler.recount() == 1
        assert await maintenance.share_reconciler.recount() == 0
    (logged,) = [entry for entry in logs if entry["event_name"] == "share.recounted"]
    assert (logged["log_level"], logged["recorded"], logged["counted"]) == ("warning", 3, 1)
    assert logged["user_id"] == str(accepted.user_id)
    await set_wrong_count(database, accepted.user_id, 3)
    metrics = RecordedMetrics()
    running_task = asyncio.create_task(maintenance.run(metrics))
    async with asyncio.timeout(60):
        while ("recount", 1) not in metrics.actions:
            await asyncio.sleep(0.01)
    running_task.cancel()
    await asyncio.wait({running_task})
    assert await share_and_real_open(database, accepted.user_id) == (1, 1)


async def test_concurrent_operations_leave_every_share_correct(database: AsyncEngine) -> None:
    """A recount at any moment finds no wrong share."""
    users = [await database_rows.create_user(database, f"{n}@example.com") for n in range(2)]
    for user in users:
        await fair_queueing.set_share(database, user, running_limit=2)
    stop, corrected, rounds = asyncio.Event(), list[Drift](), 0

    async def accept_and_cancel(user: UUID) -> None:
        turn = 0
        while turn < 25 or rounds <= 20:
            accepted = await database_rows.accept_video(database, user)
            if turn % 5 == 4:
                await cancel_extraction(database, accepted.extraction_id)
            turn += 1

    async def claim_and_perform(name: str) -> None:
        while not stop.is_set():
            for claim in await task_queue.claim(database, worker=name, limit=2):
                await perform(database, claim)

    async def recount() -> None:
        nonlocal rounds
        while not stop.is_set():
            corrected.extend(await fair_queueing.recount(database))
            for user in users:
                corrected.extend(drift for drift in [await fair_queueing.recount_one(database, user)] if drift)
            rounds += 1

    workers = [asyncio.create_task(claim_and_perform(f"w{n}")) for n in range(3)]
    recounting = asyncio.create_task(recount())
    async with asyncio.timeout(180):
        await asyncio.gather(*(accept_and_cancel(user) for user in users))
        for user in users:
            while await count_throttled_and_open(database, user) != (0, 0):
                await asyncio.sleep(0.02)
    stop.set()
    await asyncio.gather(*workers)
    await recounting
    assert corrected == []
    assert [await share_and_real_open(database, user) for user in users] == [(0, 0), (0, 0)]


async def perform(database: AsyncEngine, claim: Claim) -> None:
    """Ends a claim: in each of the possible ways, by its kind and id. It may have been cancelled before."""
    with contextlib.suppress(LeaseLost):
        if claim.kind == "segment":
            await task_queue.publish_segment(database, claim.lease, key="k", frames=1)
        elif claim.kind == "extract" and claim.lease.attempt == 1 and claim.extraction_id.int % 3 == 0:
            await task_queue.release(database, claim.lease)
        elif claim.kind == "extract" and claim.extraction_id.int % 3 == 1:
            await split_extraction(database, claim.lease)
        else:
            await publish_result(database, claim.lease)

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


async def miscount(database: AsyncEngine, user_id: UUID, count: int) -> None:
    await database_rows.execute(
        database, "UPDATE shares SET open = :open WHERE user_id = :user_id", open=count, user_id=user_id
    )


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> pytest.MonkeyPatch:
    """That of a maintenance's process."""
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
    await miscount(database, user, 7)
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
    await miscount(database, accepted.user_id, 0)
    (lease,) = [claim.lease for claim in claims if claim.extraction_id == accepted.extraction_id]
    with pytest.raises(IntegrityError):
        await publish_result(database, lease)
    assert await fair_queueing.recount(database) == [Drift(accepted.user_id, 0, 1)]
    await publish_result(database, lease)
    assert await share_and_real_open(database, accepted.user_id) == (0, 0)
    assert await share_and_real_open(database, other.user_id) == (1, 1)


async def test_corrected_share_is_counted_and_logged(database: AsyncEngine, maintenance: Maintenance) -> None:
    accepted = await database_rows.accept_video(database)
    await miscount(database, accepted.user_id, 3)
    with capture_logs() as logs:
        assert await maintenance.share_reconciler.recount() == 1
        assert await maintenance.share_reconciler.recount() == 0
    (told,) = [entry for entry in logs if entry["event_name"] == "share.recounted"]
    assert (told["log_level"], told["recorded"], told["counted"]) == ("warning", 3, 1)
    assert told["user_id"] == str(accepted.user_id)
    await miscount(database, accepted.user_id, 3)
    noted = RecordedMetrics()
    running = asyncio.create_task(maintenance.run(noted))
    async with asyncio.timeout(10):
        while ("recount", 1) not in noted.actions:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait({running})
    assert await share_and_real_open(database, accepted.user_id) == (1, 1)


async def test_concurrent_operations_leave_every_share_correct(database: AsyncEngine) -> None:
    """Neither is one found wrong, nor would counting it anew at any moment change it."""
    users = [await database_rows.create_user(database, f"{n}@example.com") for n in range(2)]
    for user in users:
        await fair_queueing.set_share(database, user, running_limit=2)
    going = asyncio.Event()

    async def asks(user: UUID) -> None:
        for turn in range(25):
            made = await database_rows.accept_video(database, user)
            if turn % 5 == 4:
                await cancel_extraction(database, made.extraction_id)

    async def works(name: str) -> None:
        while not going.is_set():
            for claim in await task_queue.claim(database, worker=name, limit=2):
                await carry_out(database, claim)

    async def counts() -> tuple[list[Drift], int]:
        corrected, looks = [], 0
        while not going.is_set():
            corrected += await fair_queueing.recount(database)
            corrected += [drift for user in users if (drift := await fair_queueing.recount_one(database, user))]
            looks += 1
        return corrected, looks

    working = [asyncio.create_task(works(f"w{n}")) for n in range(3)]
    counting = asyncio.create_task(counts())
    async with asyncio.timeout(60):
        await asyncio.gather(*(asks(user) for user in users))
        for user in users:
            while await count_throttled_and_open(database, user) != (0, 0):
                await asyncio.sleep(0.02)
    going.set()
    await asyncio.gather(*working)
    corrected, looks = await counting
    assert corrected == []
    assert looks > 20
    assert [await share_and_real_open(database, user) for user in users] == [(0, 0), (0, 0)]


async def carry_out(database: AsyncEngine, claim: Claim) -> None:
    """In every way that a task can go, unless it is cancelled meanwhile."""
    with contextlib.suppress(LeaseLost):
        if claim.kind == "segment":
            await task_queue.publish_segment(database, claim.lease, key="k", frames=1)
        elif claim.kind == "extract" and claim.lease.attempt == 1 and claim.extraction_id.int % 3 == 0:
            await task_queue.release(database, claim.lease)
        elif claim.kind == "extract" and claim.extraction_id.int % 3 == 1:
            await split_extraction(database, claim.lease)
        else:
            await publish_result(database, claim.lease)

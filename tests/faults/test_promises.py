"""The promises of accept and publish: one test for each, which a mutant of the source must fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.worker.task_files import fetch_job
from db.queue import task_queue
from db.values.error_catalogue import CatalogueError
from tests.faults.injection.faulty_store import Fault, FaultyStore
from tests.faults.rows.queue_harness import claim_one, fetch_number, submit, worker_deps_of
from tests.integration.conftest import ana, database, deps, visitor
from tests.support.clients import api_client
from tests.support.state import database_rows
from tests.support.state.queue_steps import publish_result

__all__ = ["ana", "database", "deps", "visitor"]

SAME_TRANSACTION = """
    SELECT count(*) FROM extractions JOIN outbox ON outbox.extraction_id = extractions.id
    WHERE extractions.id = :id AND extractions.xmin::text = outbox.xmin::text
"""
# A deferred trigger runs when all rows are written and only the COMMIT is missing. This one waits for a lock.
PAUSE_AT_COMMIT = (
    """
    CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END'
    """,
    """
    CREATE CONSTRAINT TRIGGER wait_here AFTER INSERT ON acceptances DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION wait_here()
    """,
)
WAITING_COMMITS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
NO_ANSWER_SECONDS = 0.7
TIMEOUT_SECONDS = 30.0


async def test_publish_and_its_notification_are_one_transaction(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    await publish_result(database, (await claim_one(database)).lease)
    assert await fetch_number(database, SAME_TRANSACTION, id=accepted.extraction_id) == 1


async def test_acceptance_row_is_written_in_the_accepting_transaction(database: AsyncEngine) -> None:
    accepted = await database_rows.accept_video(database)
    statement = """
        SELECT count(*) FROM extractions JOIN acceptances ON acceptances.extraction_id = extractions.id
        WHERE extractions.id = :id AND extractions.xmin::text = acceptances.xmin::text
    """
    assert await fetch_number(database, statement, id=accepted.extraction_id) == 1


async def test_201_is_not_sent_before_the_commit(ana: httpx.AsyncClient, database: AsyncEngine) -> None:
    async with database.begin() as connection:
        for statement in PAUSE_AT_COMMIT:
            await connection.execute(text(statement))
    async with database.connect() as holder:
        await holder.execute(text("SELECT pg_advisory_lock(1)"))
        sending = asyncio.create_task(api_client.upload_videos(ana, ("clip.mp4", api_client.MP4)))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not await fetch_number(database, WAITING_COMMITS):
                await asyncio.sleep(0.01)
        answered, _ = await asyncio.wait({sending}, timeout=NO_ANSWER_SECONDS)
        assert not answered, sending.result().text
        assert await fetch_number(database, "SELECT count(*) FROM acceptances") == 0
        await holder.execute(text("SELECT pg_advisory_unlock(1)"))
    assert (await sending).status_code == 201
    assert await fetch_number(database, "SELECT count(*) FROM acceptances") == 1


async def test_repeated_request_with_its_key_creates_nothing(ana: httpx.AsyncClient, database: AsyncEngine) -> None:
    first, again = [
        await api_client.upload_videos(ana, ("clip.mp4", api_client.MP4), headers={"Idempotency-Key": "one"})
        for _ in range(2)
    ]
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert await fetch_number(database, "SELECT count(*) FROM videos") == 1


async def test_video_altered_in_the_store_is_not_decoded(database: AsyncEngine, tmp_path: Path) -> None:
    store, clip = FaultyStore(tmp_path / "objects", seed=3), tmp_path / "clip.mp4"
    clip.write_bytes(api_client.MP4)
    await submit(database, store, clip)
    claim, worker_deps = await claim_one(database), worker_deps_of(database, store, tmp_path)
    store.fault = Fault.FLIPPING
    refused = 0
    for turn in range(20):
        (folder := tmp_path / str(turn)).mkdir()
        before = store.flips
        try:
            await fetch_job(claim, worker_deps, folder)
        except CatalogueError as error:
            refused += error.code == "unavailable"
        else:
            assert store.flips == before
    assert refused == store.flips > 0


@pytest.mark.parametrize("crashes", [1, 2])
async def test_unfinished_claim_has_counted_its_attempt(database: AsyncEngine, crashes: int) -> None:
    accepted = await database_rows.accept_video(database)
    for _ in range(crashes):
        lease = (await claim_one(database)).lease
        await task_queue.release(database, lease)
    assert (await database_rows.fetch_task(database, accepted.task_id)).attempt == crashes

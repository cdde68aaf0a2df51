"""Rows with real workers and decoding children: failing store, full disk, crashing file, wrong clock."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.sandbox.child_process import DecodingChild
from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from db.cache import open_cache
from db.connection import open_database
from db.object_store.folder_store import FolderStore
from db.queue import task_queue
from db.queue.task_queue import Claim
from db.values.error_catalogue import CatalogueError
from serve_app.app import create_app
from tests.faults.injection.faulty_store import Fault, FaultyStore
from tests.faults.injection.shifted_clock_worker import CLAIMING_WORKERS
from tests.faults.injection.small_filesystem import small_filesystem
from tests.faults.row_outcome import Outcome
from tests.faults.rows.queue_harness import (
    count_outcomes,
    fetch_number,
    perform_all_tasks,
    postgres,
    queue_database,
    small_clip,
    submit,
    worker_deps_of,
)
from tests.support.clients import api_client
from tests.support.decoding_children import start_child
from tests.support.state import database_rows

HOUR_SECONDS = 3600
REPOSITORY = Path(__file__).parents[3]
POLL_SECONDS = 0.1
LONGEST_PAUSE = (
    "SELECT coalesce(max(extract(epoch FROM ready_at - now())), 0) AS seconds FROM tasks WHERE state = 'ready'"
)
SHIFT_TIMES = """
    UPDATE tasks SET ready_at = ready_at - make_interval(secs => :seconds),
        first_service_error_at = first_service_error_at - make_interval(secs => :seconds)
    WHERE state = 'ready'
"""


async def store_faulty(full: bool, folder: Path) -> Outcome:
    """The object store is away for an hour, then fails, is slow, and flips bits."""
    videos = 10 if full else 2
    store, clip = FaultyStore(folder / "objects", seed=3), small_clip(folder)
    async with queue_database(folder) as database:
        worker_deps = worker_deps_of(database, store, folder)
        extraction_ids = [(await submit(database, store, clip)).extraction_id]
        await perform_all_tasks(worker_deps)
        for fault in (Fault.AWAY, Fault.FAILING, Fault.SLOW, Fault.FLIPPING):
            extraction_ids += [(await submit(database, store, clip)).extraction_id for _ in range(videos)]
            store.fault = fault
            if fault is Fault.AWAY:
                await _retry_through_outage(worker_deps, HOUR_SECONDS)
                store.fault = Fault.NONE
            await perform_all_tasks(worker_deps)
            store.fault = Fault.NONE
        counts = await count_outcomes(database, extraction_ids)
        different = await _count_different_archives(database, folder / "objects", extraction_ids)
        crashes = await fetch_number(database, "SELECT sum(crashes) FROM tasks")
    assert store.refusals, "the store was never away"
    assert store.flips, "no bit was flipped"
    return Outcome(
        name="The object store away for an hour, failing, slow, flipping bits",
        how=f"a faulty store under the same interface; away for {HOUR_SECONDS:,} s, whose pauses pass at once",
        accepted=len(extraction_ids),
        lost=counts.lost + different,
        duplicated=counts.duplicated,
        stale=counts.stale,
        note=f"{store.refusals} calls refused, {store.flips} objects flipped, {crashes} counted against a file",
    )


async def _retry_through_outage(worker_deps: WorkerDeps, outage_seconds: float) -> None:
    """Lets a worker retry through an outage of this length. The times in the rows are shifted instead of waited for."""
    waited = 0.0
    while waited < outage_seconds:
        seconds = float((await database_rows.fetch_one(worker_deps.database, LONGEST_PAUSE)).seconds)
        await database_rows.execute(worker_deps.database, SHIFT_TIMES, seconds=max(0.0, seconds))
        waited += max(0.0, seconds)
        (claim,) = await task_queue.claim(worker_deps.database, worker="worker")
        outcome = await perform(claim, await start_child(), worker_deps, asyncio.Event(), lambda: None)
        assert outcome is TaskOutcome.RETRIED, outcome


async def _count_different_archives(database: AsyncEngine, objects: Path, extraction_ids: Sequence[UUID]) -> int:
    """Counts archives that differ from the first extraction's. It had the same clip, and a store without a fault."""
    rows = [await database_rows.fetch_extraction(database, extraction) for extraction in extraction_ids]
    archives = [objects / row.result_key / "frames.zip" for row in rows if row.result_key]
    digests = [hashlib.sha256(archive.read_bytes()).hexdigest() for archive in archives]
    return sum(digest != rows[0].result_sha256 for digest in digests)


async def disk_full(full: bool, folder: Path) -> Outcome:
    """Uploads until the disk of the store is full during a write; then the disk is enlarged, again and again."""
    rounds = 50 if full else 5
    body = api_client.MP4 + bytes(200_000)
    extraction_ids, refused = [], 0
    with small_filesystem(folder / "objects", mebibytes=2) as filesystem:
        objects = filesystem.folder
        async with queue_database(folder) as database:
            cache = open_cache("redis://127.0.0.1:1/0")
            deps = api_client.make_deps(database, objects, cache)
            # The free space is unknown to the check before the body is read. So the disk fills during the write.
            unbounded = FolderStore(objects)
            unbounded.free_bytes = _unknown_free_bytes  # type: ignore[method-assign]  # the real store does all the rest
            deps = api_client.make_deps(database, objects, cache, objects=unbounded)
            async with api_client.open_client(create_app(deps)) as client:
                await api_client.log_in(client)
                for _ in range(rounds):
                    while (answer := await api_client.upload_videos(client, ("clip.mp4", body))).status_code == 201:
                        extraction_ids.append(UUID(answer.json()["items"][0]["extraction"]["id"]))
                    assert answer.status_code == 507, answer.text
                    assert answer.headers["retry-after"], "no Retry-After"
                    refused += 1
                    videos, reservations, stored = await api_client.stored_state(database, unbounded)
                    assert (videos, reservations, len(stored)) == (len(extraction_ids), 0, len(extraction_ids)), (
                        "a refused upload left rows or objects"
                    )
                    filesystem.enlarge(mebibytes=2 + refused)
            assert await _is_full(unbounded, objects), "a worker would claim without room for the result"
            counts = await count_outcomes(database, extraction_ids, ("queued",))
            truncated = sum(path.stat().st_size != len(body) for path in (objects / "videos").iterdir())
            deps.password_hasher.close()
            await cache.close()
    return Outcome(
        name="Disk full in staging",
        how="a tmpfs of 2 MiB under the store; uploads over HTTP until 507, then more room, again and again",
        accepted=len(extraction_ids),
        lost=counts.lost + truncated,
        duplicated=counts.duplicated,
        stale=counts.stale,
        note=f"{refused} uploads answered 507 with Retry-After, nothing left of them; the next one was taken",
    )


async def _is_full(store: FolderStore, folder: Path) -> bool:
    """Whether the check before each claim notices a disk without a free block."""
    with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(bytes(4096)):
            pass
    try:
        await store.check()
    except CatalogueError as error:
        return error.code == "storage_full"
    finally:
        (folder / "filler").unlink()
    return False


async def _unknown_free_bytes() -> int | None:
    return None


async def poison_video(full: bool, folder: Path) -> Outcome:
    """Some files always kill their decoding child; good files are between them."""
    poisons, good_each = (10, 10) if full else (1, 2)
    store, clip = FolderStore(folder / "objects"), small_clip(folder)
    async with queue_database(folder) as database:
        worker_deps = worker_deps_of(database, store, folder)
        poisonous, good = [], []
        for _ in range(poisons):
            poisonous.append((await submit(database, store, clip)).extraction_id)
            good += [(await submit(database, store, clip)).extraction_id for _ in range(good_each)]

        def kill_poisonous(claim: Claim, child: DecodingChild) -> None:
            if claim.extraction_id in poisonous:
                os.kill(child.pid, signal.SIGKILL)

        outcomes = await perform_all_tasks(worker_deps, kill_poisonous)
        counts = await count_outcomes(database, [*good, *poisonous], ("succeeded", "failed"))
        given_up = await fetch_number(
            database,
            """SELECT count(*) FROM extractions JOIN tasks ON tasks.extraction_id = extractions.id
               WHERE extractions.id = ANY(:ids) AND error_code = 'gave_up' AND crashes = 3 AND tasks.attempt = 3""",
            ids=poisonous,
        )
        unaffected = await fetch_number(
            database,
            "SELECT count(*) FROM extractions WHERE id = ANY(:ids) AND status = 'succeeded' AND attempt = 1",
            ids=good,
        )
    assert given_up == poisons, f"{given_up} of {poisons} were given up after three tries"
    assert len(outcomes) == 3 * poisons + len(good), "a good file was tried again"
    return Outcome(
        name="Poison video",
        how="SIGKILL of its decoding child at every try",
        accepted=poisons + len(good),
        lost=counts.lost + len(good) - unaffected,
        duplicated=counts.duplicated,
        stale=counts.stale,
        note=f"{given_up} gave_up after three tries each; {unaffected} good ones beside them took one try each",
    )


async def worker_clock_off(full: bool, folder: Path) -> Outcome:
    """Two workers share a queue. One clock is an hour fast, one an hour slow. Expired leases are rescued meanwhile."""
    videos = 40 if full else 4
    store, clip = FolderStore(folder / "objects"), small_clip(folder)
    rescued = 0
    async with postgres(folder) as server:
        database = open_database(server.url(), name="faults")
        extraction_ids = [(await submit(database, store, clip)).extraction_id for _ in range(videos)]
        workers = []
        for offset in (-HOUR_SECONDS, HOUR_SECONDS):
            scratch = folder / f"at{offset}"
            scratch.mkdir()
            arguments = (server.url(), str(folder / "objects"), str(scratch), str(offset))
            command = (sys.executable, "-m", "tests.faults.injection.shifted_clock_worker", *arguments)
            workers.append(await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY))
        ends = asyncio.gather(*(worker.wait() for worker in workers))
        while not ends.done():
            expired = await task_queue.rescue(database, jitter=0.0, lease_seconds=0)
            rescued += expired.again + expired.ended
            await asyncio.sleep(POLL_SECONDS)
        assert await ends == [0, 0], "a worker exited with an error"
        counts = await count_outcomes(database, extraction_ids)
        attempts = await fetch_number(database, "SELECT max(attempt) FROM tasks")
        workers_seen = await fetch_number(database, CLAIMING_WORKERS)
        await database.dispose()
    assert workers_seen == 2, "one worker did everything"
    assert (rescued, attempts) == (0, 1), f"{rescued} leases rescued, {attempts} attempts"
    return Outcome(
        name="The clock of a worker off by an hour",
        how="two worker processes, one an hour slow, one an hour fast",
        accepted=videos,
        lost=counts.lost,
        duplicated=counts.duplicated,
        stale=counts.stale,
        note="no lease rescued, one attempt each",
    )

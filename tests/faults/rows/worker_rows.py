"""Rows with real workers and decoding children: failing store, full disk, crashing file, wrong clock."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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
from tests.faults.row_outcome import Outcome
from tests.faults.rows.queue_harness import (
    count,
    number,
    postgres,
    queue_database,
    small_clip,
    submit,
    work_off,
    worker_deps_of,
)
from tests.support.clients import api_client
from tests.support.state import database_rows

HOUR_SECONDS = 3600
REPOSITORY = Path(__file__).parents[3]
LOOK_SECONDS = 0.1
WAITING = "SELECT coalesce(max(extract(epoch FROM ready_at - now())), 0) AS seconds FROM tasks WHERE state = 'ready'"
PASS = """
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
        made = [(await submit(database, store, clip)).extraction_id]
        await work_off(worker_deps)
        for fault in (Fault.AWAY, Fault.FAILING, Fault.SLOW, Fault.FLIPPING):
            made += [(await submit(database, store, clip)).extraction_id for _ in range(videos)]
            store.fault = fault
            if fault is Fault.AWAY:
                await _wait_out(worker_deps, HOUR_SECONDS)
                store.fault = Fault.NONE
            await work_off(worker_deps)
            store.fault = Fault.NONE
        found = await count(database, made)
        wrong = await _wrong_results(database, folder / "objects", made)
        crashes = await number(database, "SELECT sum(crashes) FROM tasks")
    assert store.refusals, "the store was never away"
    assert store.flips, "no bit was flipped"
    return Outcome(
        name="The object store away for an hour, failing, slow, flipping bits",
        how=f"a faulty store under the same interface; away for {HOUR_SECONDS:,} s, whose pauses pass at once",
        accepted=len(made),
        lost=found.lost + wrong,
        duplicated=found.duplicated,
        stale=found.stale,
        note=f"{store.refusals} calls refused, {store.flips} objects flipped, {crashes} counted against a file",
    )


async def _wait_out(worker_deps: WorkerDeps, outage_seconds: float) -> None:
    """A worker tries for so long of the queue's clock, whose pauses pass at once."""
    waited = 0.0
    while waited < outage_seconds:
        seconds = float((await database_rows.fetch_one(worker_deps.database, WAITING)).seconds)
        await database_rows.execute(worker_deps.database, PASS, seconds=max(0.0, seconds))
        waited += max(0.0, seconds)
        (claim,) = await task_queue.claim(worker_deps.database, worker="worker")
        ending = await perform(claim, await DecodingChild.start(), worker_deps, asyncio.Event(), lambda: None)
        assert ending is TaskOutcome.RETRIED, ending


async def _wrong_results(database: AsyncEngine, objects: Path, made: Sequence[UUID]) -> int:
    """Archives that are not the one which the first, healthy extraction of the same clip has made."""
    found = [await database_rows.fetch_extraction(database, extraction) for extraction in made]
    archives = [objects / row.result_key / "frames.zip" for row in found if row.result_key]
    digests = [hashlib.sha256(archive.read_bytes()).hexdigest() for archive in archives]
    return sum(digest != found[0].result_sha256 for digest in digests)


async def disk_full(full: bool, folder: Path) -> Outcome:
    """Uploads until the disk of the store is full, mid-write; then there is room again."""
    fills = 50 if full else 5
    body = api_client.MP4 + bytes(200_000)
    objects, made, refused = folder / "objects", [], 0
    with _small_disk(objects, mebibytes=2):
        async with queue_database(folder) as database:
            cache = open_cache("redis://127.0.0.1:1/0")
            deps = api_client.make_deps(database, objects, cache)
            # Not known before the body is read: the disk fills while it is written.
            unbounded = FolderStore(objects)
            unbounded.free_bytes = _unknown  # type: ignore[method-assign]  # the real store does all the rest
            deps = api_client.make_deps(database, objects, cache, objects=unbounded)
            async with api_client.open_client(create_app(deps)) as client:
                await api_client.log_in(client)
                for _ in range(fills):
                    while (answer := await api_client.upload_videos(client, ("clip.mp4", body))).status_code == 201:
                        made.append(UUID(answer.json()["items"][0]["extraction"]["id"]))
                    assert answer.status_code == 507, answer.text
                    assert answer.headers["retry-after"], "no word on when to come again"
                    refused += 1
                    videos, reservations, stored = await api_client.stored_state(database, unbounded)
                    assert (videos, reservations, len(stored)) == (len(made), 0, len(made)), "something was left"
                    _enlarge(objects, mebibytes=2 + refused)
            assert await _is_full(unbounded, objects), "a worker would claim with no room for the result"
            found = await count(database, made, ("queued",))
            short = sum(path.stat().st_size != len(body) for path in (objects / "videos").iterdir())
            deps.password_hasher.close()
            await cache.close()
    return Outcome(
        name="Disk full in staging",
        how="a tmpfs of 2 MiB under the store; uploads over HTTP until 507, then more room, again and again",
        accepted=len(made),
        lost=found.lost + short,
        duplicated=found.duplicated,
        stale=found.stale,
        note=f"{refused} uploads answered 507 with Retry-After, nothing left of them; the next one was taken",
    )


async def _is_full(store: FolderStore, folder: Path) -> bool:
    """Whether a disk without a free block is noticed by the check before each claim."""
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


async def _unknown() -> int | None:
    return None


@contextmanager
def _small_disk(folder: Path, *, mebibytes: int) -> Iterator[None]:
    """Mounts one. Raises CalledProcessError where that is not allowed."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _enlarge(folder: Path, *, mebibytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={mebibytes}m", folder], check=True)


async def poison_video(full: bool, folder: Path) -> Outcome:
    """Files whose children always die, each amid good ones."""
    poisons, good_each = (10, 10) if full else (1, 2)
    store, clip = FolderStore(folder / "objects"), small_clip(folder)
    async with queue_database(folder) as database:
        worker_deps = worker_deps_of(database, store, folder)
        poisonous, good = [], []
        for _ in range(poisons):
            poisonous.append((await submit(database, store, clip)).extraction_id)
            good += [(await submit(database, store, clip)).extraction_id for _ in range(good_each)]

        def meet(claim: Claim, child: DecodingChild) -> None:
            if claim.extraction_id in poisonous:
                os.kill(child.pid, signal.SIGKILL)

        done = await work_off(worker_deps, meet)
        fine = await count(database, [*good, *poisonous], ("succeeded", "failed"))
        given_up = await number(
            database,
            """SELECT count(*) FROM extractions JOIN tasks ON tasks.extraction_id = extractions.id
               WHERE extractions.id = ANY(:ids) AND error_code = 'gave_up' AND crashes = 3 AND tasks.attempt = 3""",
            ids=poisonous,
        )
        unhurt = await number(
            database,
            "SELECT count(*) FROM extractions WHERE id = ANY(:ids) AND status = 'succeeded' AND attempt = 1",
            ids=good,
        )
    assert given_up == poisons, f"{given_up} of {poisons} were given up after three tries"
    assert len(done) == 3 * poisons + len(good), "a good file was tried again"
    return Outcome(
        name="Poison video",
        how="SIGKILL of its decoding child at every try",
        accepted=poisons + len(good),
        lost=fine.lost + len(good) - unhurt,
        duplicated=fine.duplicated,
        stale=fine.stale,
        note=f"{given_up} gave_up after three tries each; {unhurt} good ones beside them took one try each",
    )


async def worker_clock_off(full: bool, folder: Path) -> Outcome:
    """Workers whose clocks are an hour fast and an hour slow share a queue, while a maintenance process looks for
    late leases.
    """
    videos = 40 if full else 4
    store, clip = FolderStore(folder / "objects"), small_clip(folder)
    rescued = 0
    async with postgres(folder) as server:
        database = open_database(server.url(), name="faults")
        made = [(await submit(database, store, clip)).extraction_id for _ in range(videos)]
        workers = []
        for offset in (-HOUR_SECONDS, HOUR_SECONDS):
            scratch = folder / f"at{offset}"
            scratch.mkdir()
            arguments = (server.url(), str(folder / "objects"), str(scratch), str(offset))
            command = (sys.executable, "-m", "tests.faults.injection.shifted_clock_worker", *arguments)
            workers.append(await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY))
        ends = asyncio.gather(*(worker.wait() for worker in workers))
        while not ends.done():
            late = await task_queue.rescue(database, jitter=0.0, lease_seconds=0)
            rescued += late.again + late.ended
            await asyncio.sleep(LOOK_SECONDS)
        assert await ends == [0, 0], "a worker did not end well"
        found = await count(database, made)
        attempts = await number(database, "SELECT max(attempt) FROM tasks")
        named = await number(database, "SELECT count(DISTINCT data->>'worker') FROM events WHERE kind = 'claimed'")
        await database.dispose()
    assert named == 2, "one worker did everything"
    assert (rescued, attempts) == (0, 1), f"{rescued} leases rescued, {attempts} attempts"
    return Outcome(
        name="The clock of a worker off by an hour",
        how="two worker processes, one an hour slow, one an hour fast",
        accepted=videos,
        lost=found.lost,
        duplicated=found.duplicated,
        stale=found.stale,
        note="no lease rescued, one attempt each",
    )

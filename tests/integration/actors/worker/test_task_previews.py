"""The preview of a running task: stored and told with a heartbeat, and gone with its attempt."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from actors.extraction_types import preview_files
from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from db.object_store.object_keys import preview_key
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from db.queue.task_queue import Claim
from db.values.error_catalogue import CatalogueError
from tests.support.compromised_child import child_that_runs
from tests.support.state import database_rows
from tests.support.state.maintenance_setup import make_maintenance
from tests.support.state.worker_setup import ALL_FRAMES, claim_task, submit_video
from tests.support.videos.clips import ClipByName
from tests.support.wait_conditions import wait_until

# The child waits with all images written, as long as the test wants. A message too soon after another is not sent.
WAIT = """
import time
from actors.extraction_types import Progress
%s
time.sleep(0.3)
on_progress(Progress(newest, newest))
while not (out / "go").exists():
    time.sleep(0.02)
"""
OWN_NEWEST = 'newest = max(int(path.stem.partition("-")[2]) for path in out.glob("preview-*.jpg"))'
# The child's first preview: of one that was announced before, nothing is read again.
LINK_TO_FILE = """
newest = 1
(out / "preview-1.jpg").symlink_to({!r})
(out / "preview-1.vtt").write_text("WEBVTT")
"""
SECRET = b"readable by the worker only"


@pytest.fixture
def previewing_deps(worker_deps: WorkerDeps) -> WorkerDeps:
    return replace(worker_deps, preview_seconds=0.0, heartbeat_seconds=0.1)


class WaitingTask:
    """A task whose child waits before it sends its outcome. out: the child's folder."""

    def __init__(self, claim: Claim, deps: WorkerDeps, performing: asyncio.Task[TaskOutcome]) -> None:
        self.claim, self.deps, self.performing = claim, deps, performing
        self.out = deps.scratch / f"{claim.lease.task_id}-{claim.lease.attempt}" / "out"

    async def row(self) -> Row[Any]:
        return await database_rows.fetch_task(self.deps.database, self.claim.lease.task_id)

    async def preview_is_told(self, frames: int) -> None:
        async def is_told() -> bool:
            assert not self.performing.done()
            return bool((await self.row()).preview_frames == frames)

        await wait_until(is_told)

    async def end(self) -> TaskOutcome:
        (self.out / "go").touch()
        return await asyncio.wait_for(self.performing, 60)


@asynccontextmanager
async def waiting_task(deps: WorkerDeps, newest: str = OWN_NEWEST) -> AsyncIterator[WaitingTask]:
    child = await child_that_runs(WAIT % newest)
    claim = await claim_task(deps)
    performing = asyncio.create_task(perform(claim, child, deps, asyncio.Event(), lambda: None))
    try:
        yield WaitingTask(claim, deps, performing)
    finally:
        performing.cancel()
        await asyncio.gather(performing, return_exceptions=True)


async def read(store: ObjectStore, key: str) -> bytes:
    return b"".join([chunk async for chunk in store.read(key)])


async def test_running_task_tells_its_preview_which_goes_when_the_result_is_published(
    database: AsyncEngine, store: ObjectStore, previewing_deps: WorkerDeps, clips: ClipByName
) -> None:
    path, truth = clips("h264")
    accepted = await submit_video(database, store, path, ALL_FRAMES)
    async with waiting_task(previewing_deps) as task:
        frames = len(truth.shown)
        await task.preview_is_told(frames)
        key = (await task.row()).preview_key
        assert key == preview_key(accepted.extraction_id, accepted.task_id, 1, frames)
        for suffix, name in zip((".jpg", ".vtt"), preview_files(frames), strict=True):
            assert await read(store, key + suffix) == (task.out / name).read_bytes()
        with Image.open(io.BytesIO(await read(store, f"{key}.jpg"))) as sheet:
            assert sheet.width == 1600
        assert await task.end() is TaskOutcome.PUBLISHED
        assert (await task.row()).preview_key is None
    extraction = await database_rows.fetch_extraction(database, accepted.extraction_id)
    await make_maintenance(database, store).lost_attempt_cleaner.run()
    keys = await store.keys("results")
    assert {key.startswith(f"{extraction.result_key}/") for key in keys} == {True}
    assert not [key for key in keys if "preview" in key]


async def test_lost_attempt_leaves_no_preview(
    database: AsyncEngine, store: ObjectStore, previewing_deps: WorkerDeps, clips: ClipByName
) -> None:
    path, truth = clips("h264")
    accepted = await submit_video(database, store, path, ALL_FRAMES)
    async with waiting_task(previewing_deps) as task:
        await task.preview_is_told(len(truth.shown))
        async with database.begin() as connection:
            assert await task_queue.cancel(connection, accepted.extraction_id)
        assert await asyncio.wait_for(task.performing, 60) is TaskOutcome.LOST
        assert (await task.row()).preview_key is None
    assert await store.keys("results") == []


class StoreWithoutPreviews:
    """The store, which is away whenever a preview is written."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> Any:
        if "/previews/" in key:
            raise CatalogueError("unavailable", "The object store is away.")
        return await self._store.put(key, chunks)


def is_logged(logs: list[Any], event_name: str) -> Callable[[], Any]:
    async def found() -> bool:
        return any(entry.get("event_name") == event_name for entry in logs)

    return found


async def test_preview_that_can_not_be_stored_does_not_disturb_the_extraction(
    database: AsyncEngine, store: ObjectStore, previewing_deps: WorkerDeps, clips: ClipByName
) -> None:
    await submit_video(database, store, clips("h264")[0], ALL_FRAMES)
    objects: Any = StoreWithoutPreviews(store)
    with capture_logs() as logs:
        async with waiting_task(replace(previewing_deps, objects=objects)) as task:
            await wait_until(is_logged(logs, "preview.missed"))
            assert (await task.row()).preview_key is None
            assert await task.end() is TaskOutcome.PUBLISHED


async def test_preview_that_is_a_link_is_refused_and_the_result_is_published_all_the_same(
    database: AsyncEngine, store: ObjectStore, previewing_deps: WorkerDeps, clips: ClipByName, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"\xff\xd8\xff" + SECRET + b"\xff\xd9")
    await submit_video(database, store, clips("h264")[0], ALL_FRAMES)
    with capture_logs() as logs:
        deps = replace(previewing_deps, preview_seconds=3600.0)
        async with waiting_task(deps, LINK_TO_FILE.format(str(secret))) as task:
            await wait_until(is_logged(logs, "preview.refused"))
            assert await task.end() is TaskOutcome.PUBLISHED
    for key in await store.keys("results"):
        assert SECRET not in await read(store, key)

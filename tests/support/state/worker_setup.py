"""The dependencies of a worker, videos in its queue, and a run of its next task."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from actors.extraction_types import Reader
from actors.worker.staging_cache import StagingCache
from actors.worker.task_runner import TaskOutcome, perform
from actors.worker.worker_deps import WorkerDeps
from db.acceptance import resumable_uploads
from db.acceptance.accept import Upload, accept
from db.acceptance.object_reservations import reserve
from db.acceptance.resumable_uploads import Chunk, NewUpload
from db.object_store.object_keys import chunk_key
from db.object_store.object_store import ObjectStore
from db.queue import task_queue
from db.queue.task_queue import Claim
from db.values.frame_spec import canonical, parse
from tests.support.clients.api_client import one_chunk
from tests.support.decoding_children import start_child
from tests.support.state import database_rows


class RecordedWorkerMetrics:
    def __init__(self) -> None:
        self.waits: list[float] = []
        self.states: list[bool] = []
        self.ended_tasks: list[tuple[str, str]] = []
        self.decodings: list[tuple[str, float, int]] = []
        self.crashes = 0

    def claimed(self, waited_seconds: float) -> None:
        self.waits.append(waited_seconds)

    def busy(self, is_busy: bool) -> None:
        self.states.append(is_busy)

    def ended(self, kind: str, outcome: str, seconds: float) -> None:
        self.ended_tasks.append((kind, outcome))

    def decoded(self, kind: str, seconds: float, frames: int) -> None:
        self.decodings.append((kind, seconds, frames))

    def child_crashed(self) -> None:
        self.crashes += 1


ALL_FRAMES = '{"sample": {"mode": "all"}}'


def make_worker_deps(
    database: AsyncEngine, objects: ObjectStore, folder: Path, reader: Reader = Reader.AUTO
) -> WorkerDeps:
    """Dependencies with a scratch folder in `folder` and no random pauses."""
    (folder / "scratch").mkdir(exist_ok=True)
    return WorkerDeps(
        database=database,
        objects=objects,
        scratch=folder / "scratch",
        staging_cache=StagingCache(folder / "staged", 1 << 30),
        reader=reader,
        threads=1,
        lease_seconds=60,
        heartbeat_seconds=15,
        address_space_bytes=4 << 30,
        seconds_max=600,
        max_frames=10_000,
        jitter=lambda: 0.0,
    )


async def submit_video(
    database: AsyncEngine, objects: ObjectStore, path: Path, spec: str = "{}", *, user_id: UUID | None = None
) -> database_rows.Accepted:
    """Reserves, stores and accepts a video as the API does, for a new account unless one is given."""
    user_id = user_id or await database_rows.create_user(database, f"{uuid7()}@example.com")
    unstored = database_rows.make_upload(user_id, path.name)
    await reserve(database, user_id, unstored.object_key)
    stored = await objects.put_file(unstored.object_key, path)
    upload = replace(unstored, size=stored.size, sha256=stored.sha256, spec=canonical(parse(spec)))
    async with database.begin() as connection:
        await accept(connection, [upload])
    return database_rows.Accepted(user_id, upload.video_id, upload.extraction_id, upload.task_id)


async def submit_in_chunks(
    database: AsyncEngine,
    objects: ObjectStore,
    path: Path,
    *,
    chunk_bytes: int = 10_000,
    sha256: str | None = None,
    spec: str = "{}",
    user_id: UUID | None = None,
) -> database_rows.Accepted:
    """Stores a video in chunks and accepts it, as an upload by tus. sha256: the digest that the client declares."""
    user_id, video_id = user_id or await database_rows.create_user(database, f"{uuid7()}@example.com"), uuid7()
    content, canonical_spec = path.read_bytes(), canonical(parse(spec))
    new = NewUpload(video_id, user_id, path.name, canonical_spec, "", len(content), sha256)
    async with database.begin() as connection:
        state = await resumable_uploads.create(connection, new, expiry_seconds=60)
    chunks = []
    for start in range(0, len(content), chunk_bytes):
        key = chunk_key(video_id, start)
        stored = await objects.put(key, one_chunk(content[start : start + chunk_bytes]))
        chunks.append(Chunk(start, stored.size, stored.sha256, key))
    key = resumable_uploads.object_key_of(video_id)
    upload = Upload(user_id, video_id, uuid7(), uuid7(), path.name, len(content), None, key, canonical_spec)
    async with database.begin() as connection:
        await resumable_uploads.add_chunks(connection, state, chunks, expiry_seconds=60)
        await accept(connection, [upload])
    return database_rows.Accepted(user_id, video_id, upload.extraction_id, upload.task_id)


async def claim_task(worker_deps: WorkerDeps) -> Claim:
    (claim,) = await task_queue.claim(worker_deps.database, worker="w1")
    return claim


async def run_next_task(worker_deps: WorkerDeps, stop: asyncio.Event | None = None) -> TaskOutcome:
    child = await start_child()
    return await perform(await claim_task(worker_deps), child, worker_deps, stop or asyncio.Event(), lambda: None)

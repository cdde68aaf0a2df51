"""A worker's worker_deps, and stored videos that wait for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from actors.extraction_types import Reader
from actors.worker.worker_deps import WorkerDeps
from db.acceptance.accept import accept
from db.acceptance.object_reservations import reserve
from db.object_store.object_store import ObjectStore
from db.values.frame_spec import canonical, parse
from tests.support import database_rows

ALL_FRAMES = '{"sample": {"mode": "all"}}'


def make_worker_deps(
    database: AsyncEngine, objects: ObjectStore, folder: Path, reader: Reader = Reader.AUTO
) -> WorkerDeps:
    """With a scratch folder in `folder`; without pauses that come of chance."""
    (folder / "scratch").mkdir(exist_ok=True)
    return WorkerDeps(
        database=database,
        objects=objects,
        scratch=folder / "scratch",
        reader=reader,
        threads=1,
        lease_seconds=60,
        heartbeat_seconds=15,
        address_space_bytes=4 << 30,
        seconds_max=600,
        max_frames=10_000,
        drain_seconds=0,
        jitter=lambda: 0.0,
    )


async def submit_video(
    database: AsyncEngine, objects: ObjectStore, path: Path, spec: str = "{}"
) -> database_rows.Accepted:
    """As the API does it: reserve, put, accept; for an account of its own."""
    user_id = await database_rows.create_user(database, f"{uuid7()}@example.com")
    named = database_rows.make_upload(user_id, path.name)
    await reserve(database, user_id, named.object_key)
    stored = await objects.put_file(named.object_key, path)
    upload = replace(named, size=stored.size, sha256=stored.sha256, spec=canonical(parse(spec)))
    async with database.begin() as connection:
        await accept(connection, [upload])
    return database_rows.Accepted(user_id, upload.video_id, upload.extraction_id, upload.task_id)

"""An account with rows in every table that can have some, and the rows of all tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from db.acceptance import object_reservations, quotas
from db.notification import webhook_deliveries
from db.object_store.object_keys import video_key
from db.queue import task_queue
from db.queue.task_queue import Claim
from db.values.lifecycle import Blame
from serve_app.deps import Deps
from tests.support.clients import tus_client
from tests.support.clients.api_client import (
    MP4,
    WEBM,
    make_result,
    one_chunk,
    publish_next_task,
    upload_video,
    upload_videos,
)
from tests.support.state import database_rows
from tests.support.state.notification_setup import create_webhook

Rows = set[tuple[str, str]]
"""The rows of all tables: pairs of a table's name and a row as JSON text."""


@dataclass(frozen=True)
class WholeAccount:
    """running: the claim of an extraction that runs."""

    user_id: UUID
    succeeded: dict[str, Any]
    running: Claim


async def add_ended_and_running(client: httpx.AsyncClient, deps: Deps, mark: str) -> WholeAccount:
    """Adds videos with ended extractions and with a running one, and their notifications. mark: a word in all names."""
    user_id = UUID((await client.get("/v1/me")).json()["id"])
    webhook = await create_webhook(deps.database, user_id, f"https://{mark}.example.org/hook")
    (await client.post("/v1/api-keys", json={"name": f"{mark}'s notebook"})).raise_for_status()
    (await client.put(f"/v1/presets/{mark}'s slides", json={"spec": {}})).raise_for_status()
    async with deps.database.begin() as connection:
        await quotas.set_own(connection, user_id, quotas.UNLIMITED)
    deleted = await upload_video(client, f"{mark}-deleted.mp4")
    await client.delete(f"/v1/videos/{deleted['id']}")
    succeeded = await upload_video(client, f"{mark}-succeeded.mp4")
    await publish_next_task(deps, make_result([b"one", b"two"]))
    assert (await client.post(f"/v1/videos/{succeeded['id']}/extractions", json={})).json()["reused"]
    notification = await database_rows.fetch_one(
        deps.database, "SELECT id FROM outbox WHERE channel = :channel LIMIT 1", channel=f"webhook:{webhook.id}"
    )
    await webhook_deliveries.record(deps.database, notification.id, status=200, error=None, milliseconds=5)
    await upload_video(client, f"{mark}-failed.mp4")
    (claim,) = await task_queue.claim(deps.database, worker="w")
    await task_queue.fail(
        deps.database, claim.lease, blame=Blame.FILE, code="no_frames", detail=f"{mark} has none.", jitter=0.0
    )
    await upload_video(client, f"{mark}-running.mp4")
    (running,) = await task_queue.claim(deps.database, worker="w")
    await deps.objects.put(f"results/{running.extraction_id}/{running.lease.task_id}/1/plan.json", one_chunk(b"{}"))
    return WholeAccount(user_id, succeeded, running)


async def add_waiting(client: httpx.AsyncClient, deps: Deps, account: WholeAccount, mark: str) -> None:
    """Adds queued videos, an unfinished and a discarded upload, and a reserved object."""
    key = {"Idempotency-Key": mark}
    assert (await upload_videos(client, (f"{mark}-queued.webm", WEBM), headers=key)).status_code == 201
    complete = await tus_client.open_upload(client, len(MP4), filename=f"{mark}-tus.mp4")
    await tus_client.patch(client, complete, 0, MP4[:5000])
    assert "video-location" in (await tus_client.patch(client, complete, 5000, MP4[5000:])).headers
    unfinished = await tus_client.open_upload(client, len(MP4), filename=f"{mark}-open.mp4")
    await tus_client.patch(client, unfinished, 0, MP4[:5000])
    discarded = await tus_client.open_upload(client, len(MP4), filename=f"{mark}-discarded.mp4")
    await client.delete(discarded, headers=tus_client.TUS)
    reserved = video_key(uuid7())
    await object_reservations.reserve(deps.database, account.user_id, reserved)
    await deps.objects.put(reserved, one_chunk(MP4))


async def all_rows(database: AsyncEngine) -> Rows:
    async with database.connect() as connection:
        tables = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows: Rows = set()
        for table in list((await connection.execute(tables)).scalars()):
            result = await connection.execute(text(f"SELECT CAST(to_jsonb(t) AS text) FROM {table} AS t"))
            rows |= {(table, row) for row in result.scalars()}
        return rows


async def object_ids(database: AsyncEngine, user_id: UUID) -> set[str]:
    """The ids of videos, uploads, reservations and extractions in the keys of the account's objects."""
    statement = text("""
        SELECT CAST(id AS text) FROM videos WHERE user_id = :user_id
        UNION ALL SELECT CAST(id AS text) FROM extractions WHERE user_id = :user_id
        UNION ALL SELECT CAST(id AS text) FROM uploads WHERE user_id = :user_id
        UNION ALL SELECT split_part(object_key, '/', 2) FROM reservations WHERE user_id = :user_id
    """)
    async with database.connect() as connection:
        return set((await connection.execute(statement, {"user_id": user_id})).scalars())


async def rows_of_user(database: AsyncEngine, user_id: UUID) -> dict[str, int]:
    """How many rows of the account there are in each table with a column user_id."""
    counts = {}
    async with database.connect() as connection:
        tables = text("SELECT table_name FROM information_schema.columns"
                      " WHERE table_schema = 'public' AND column_name = 'user_id'")  # fmt: skip
        for table in list((await connection.execute(tables)).scalars()):
            statement = text(f"SELECT count(*) FROM {table} WHERE user_id = :user_id")
            counts[table] = (await connection.execute(statement, {"user_id": user_id})).scalar_one()
    return counts

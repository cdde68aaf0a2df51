"""`fotograma ops status`: the figures follow the rows."""

from __future__ import annotations

import json
from importlib.metadata import version

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.maintenance.acceptance_auditor import AcceptanceAuditor
from db.connection import open_database
from db.queue import queue_status, task_queue
from db.schema_revision import HEAD
from serve_app.deps import Deps
from tests.integration.cluster.ops.conftest import RunOps
from tests.support.clients.api_client import MP4, make_result, publish_next_task, upload_video
from tests.support.state import database_rows


async def test_status_of_an_empty_service_says_that_there_is_nothing(ops: RunOps) -> None:
    found = json.loads((await ops("status", "--json")).out)
    queue = found["queue"]
    assert (queue["ready"], queue["running"], queue["oldest_seconds"], queue["kinds"]) == (0, 0, None, [])
    assert (found["workers"], found["nodes"], found["ledger"]) == ([], None, None)
    assert (found["storage"]["originals"], found["storage"]["results"]) == (0, 0)
    assert found["storage"]["free"] > 0
    versions = found["versions"]
    assert (versions["schema"], versions["database_schema"], versions["ray"]) == (HEAD, HEAD, version("ray"))
    assert versions["ffmpeg"]
    assert versions["postgres"].startswith("18")
    text = (await ops("status")).out
    assert "ledger     not audited yet" in text
    assert "nodes      unknown: RAY_ADDRESS is not set." in text


async def test_status_counts_queue_workers_storage_and_ledger(
    ops: RunOps, deps: Deps, ana: httpx.AsyncClient, database: AsyncEngine
) -> None:
    for n in range(4):
        await upload_video(ana, f"{n}.mp4")
    await publish_next_task(deps, make_result([b"image"]))
    (claim,) = await task_queue.claim(database, worker="host:1")
    await database_rows.execute(database, "UPDATE tasks SET created_at = now() - interval '90 s' WHERE state = 'ready'")
    await AcceptanceAuditor(database, lambda: 0.0).run()
    idle = open_database(
        database.url.render_as_string(hide_password=False), name=queue_status.connection_name_of("host:2")
    )
    async with idle.connect():
        found = json.loads((await ops("status", "--json")).out)
        text = (await ops("status")).out
    await idle.dispose()
    assert (found["queue"]["ready"], found["queue"]["running"]) == (2, 1)
    (kind,) = found["queue"]["kinds"]
    assert (kind["kind"], kind["ready"], kind["running"]) == ("extract", 2, 1)
    assert 90 <= kind["oldest_seconds"] < 120
    assert found["workers"] == [
        {"name": "host:1", "state": "running", "kind": "cpu", "gpu": None, "tasks": [str(claim.lease.task_id)]},
        {"name": "host:2", "state": "idle", "kind": "cpu", "gpu": None, "tasks": []},
    ]
    assert found["storage"]["originals"] == 4 * len(MP4)
    assert found["storage"]["results"] > 0
    assert (found["ledger"]["accepted"], found["ledger"]["difference_count"]) == (4, 0)
    assert "2 ready (0 delayed), 0 throttled, 1 running" in text
    assert "2: 1 running, 1 idle, 0 lost" in text


async def test_status_begins_with_what_is_paused(ops: RunOps) -> None:
    await ops("pause", "claiming")
    first_line = (await ops("status")).out.splitlines()[0]
    assert first_line.startswith("PAUSED     claiming since ")
    assert first_line.endswith("Go on: fotograma ops resume claiming")


async def test_status_tells_a_ray_that_is_away_and_shows_the_rest(ops: RunOps, settings: pytest.MonkeyPatch) -> None:
    settings.setenv("RAY_ADDRESS", "127.0.0.1:1")
    done = await ops("status")
    assert done.code == 0
    assert "nodes      unknown: Ray at 127.0.0.1:1 does not answer" in done.out


async def test_database_of_another_version_is_named(ops: RunOps, database: AsyncEngine) -> None:
    await database_rows.execute(database, "DROP TABLE operator_controls")
    refused = await ops("status")
    assert refused.code == 1
    assert "does not have the schema of this version" in refused.err

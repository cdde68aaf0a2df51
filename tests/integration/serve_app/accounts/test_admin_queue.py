"""The queue and the workers over HTTP: the figures follow the rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db.accounts import accounts
from db.connection import open_database
from db.queue import queue_status, task_queue
from db.queue.worker_kinds import GpuWorker, sign_of_gpu_worker
from db.values.lifecycle import MAX_CRASHES, Blame
from serve_app.deps import Deps
from serve_app.openapi import admin_schemas
from tests.support.clients.api_client import make_result, publish_next_task, upload_video
from tests.support.state import database_rows
from tests.support.state.maintenance_setup import execute_past_triggers
from tests.support.wait_conditions import process_ends


@pytest.fixture
async def admin(ana: httpx.AsyncClient, deps: Deps) -> httpx.AsyncClient:
    """Ana's client, after she was promoted."""
    await accounts.set_role(deps.database, "ana@example.org", accounts.ADMIN)
    return ana


async def queue_of(admin: httpx.AsyncClient) -> admin_schemas.Queue:
    return admin_schemas.Queue.model_validate_json((await admin.get("/v1/admin/queue")).content)


async def workers_of(admin: httpx.AsyncClient) -> dict[str, admin_schemas.Worker]:
    answer = admin_schemas.Workers.model_validate_json((await admin.get("/v1/admin/workers")).content)
    return {worker.name: worker for worker in answer.items}


async def test_empty_queue_has_only_zeros(admin: httpx.AsyncClient) -> None:
    queue = await queue_of(admin)
    assert (queue.waiting, queue.running, queue.lost, queue.oldest_seconds, queue.given_up) == (0, 0, 0, None, [])
    assert await workers_of(admin) == {}


@pytest.mark.usefixtures("long_pauses")
async def test_queue_counts_tasks_by_what_they_wait_for(admin: httpx.AsyncClient, deps: Deps) -> None:
    await database_rows.execute(deps.database, "UPDATE shares SET running_limit = 3")
    for n in range(5):
        await upload_video(admin, f"{n}.mp4")
    await database_rows.execute(
        deps.database, "UPDATE tasks SET created_at = now() - interval '90 s' WHERE state = 'throttled'"
    )
    (claim,) = await task_queue.claim(deps.database, worker="w")
    (retried,) = await task_queue.claim(deps.database, worker="w")
    await task_queue.fail(
        deps.database, retried.lease, blame=Blame.SERVICE, code="unavailable", detail="The store is away.", jitter=0.5
    )
    queue = await queue_of(admin)
    assert (queue.waiting, queue.throttled, queue.ready, queue.delayed) == (4, 2, 2, 1)
    assert (queue.running, queue.lost) == (1, 0)
    assert queue.oldest_seconds is not None
    assert 90 <= queue.oldest_seconds < 120
    await database_rows.execute(
        deps.database,
        "UPDATE tasks SET lease_expires_at = now() - interval '1 s' WHERE id = :id",
        id=claim.lease.task_id,
    )
    assert ((await queue_of(admin)).running, (await queue_of(admin)).lost) == (0, 1)


async def test_given_up_extractions_are_listed_for_a_week_and_refused_files_are_not(
    admin: httpx.AsyncClient, deps: Deps
) -> None:
    for n in range(3):
        await upload_video(admin, f"{n}.mp4")
    (broken,) = await task_queue.claim(deps.database, worker="w")
    await task_queue.fail(
        deps.database, broken.lease, blame=Blame.FILE, code="undecodable", detail="No frame.", jitter=0.0
    )
    given_up = []
    for _ in range(2):
        for _ in range(MAX_CRASHES):
            await database_rows.execute(deps.database, "UPDATE tasks SET ready_at = now() WHERE state = 'ready'")
            (claim,) = await task_queue.claim(deps.database, worker="w")
            await task_queue.fail(
                deps.database, claim.lease, blame=Blame.CRASH, code="gave_up", detail="It crashed.", jitter=0.0
            )
        given_up.append(claim.extraction_id)
    queue = await queue_of(admin)
    assert queue.given_up_count == 2
    assert [(one.extraction_id, one.email, one.code) for one in queue.given_up] == [
        (extraction_id, "ana@example.org", "gave_up") for extraction_id in reversed(given_up)
    ]
    week_ago = "UPDATE extractions SET finished_at = now() - interval '8 days' WHERE id = :id"
    await execute_past_triggers(deps.database, week_ago, given_up[0])
    queue = await queue_of(admin)
    assert (queue.given_up_count, [one.extraction_id for one in queue.given_up]) == (1, [given_up[1]])


@asynccontextmanager
async def connected_worker(database_url: str, name: str) -> AsyncIterator[AsyncEngine]:
    """A worker's connection to the database, as long as it runs. It has called the database once."""
    own = open_database(database_url, name=queue_status.connection_name_of(name))
    assert await task_queue.claim(own, worker=name, limit=0) == []
    process = (await database_rows.fetch_one(own, "SELECT pg_backend_pid() AS id")).id
    yield own
    await own.dispose()
    # PostgreSQL lists the connection until its process has ended.
    assert await asyncio.to_thread(process_ends, process)


async def test_workers_are_known_by_their_leases_and_their_calls(
    admin: httpx.AsyncClient, deps: Deps, database_url: str
) -> None:
    for n in range(3):
        await upload_video(admin, f"{n}.mp4")
    await publish_next_task(deps, make_result([b"one"]))
    (running,) = await task_queue.claim(deps.database, worker="host-1:a")
    await task_queue.heartbeat(deps.database, running.lease, frames_done=7)
    (late,) = await task_queue.claim(deps.database, worker="host-2:b", lease_seconds=-1.0)
    async with connected_worker(database_url, "test-worker"), connected_worker(database_url, "host-1:a"):
        workers = await workers_of(admin)
        assert {name: worker.state for name, worker in workers.items()} == {
            "host-1:a": "running",
            "host-2:b": "lost",
            "test-worker": "idle",
        }
        (task,) = workers["host-1:a"].tasks
        assert (task.extraction_id, task.kind) == (running.extraction_id, "extract")
        assert (task.attempt, task.frames_done) == (1, 7)
        assert workers["test-worker"].tasks == []
        assert workers["test-worker"].last_claimed_at is not None
        assert [task.task_id for task in workers["host-2:b"].tasks] == [late.lease.task_id]
        await database_rows.execute(deps.database, "UPDATE events SET at = at - interval '2 hours'")
        workers = await workers_of(admin)
        assert set(workers) == {"host-1:a", "host-2:b", "test-worker"}
        assert workers["test-worker"].last_claimed_at is None
    # The process of the idle worker has ended.
    assert set(await workers_of(admin)) == {"host-1:a", "host-2:b"}


async def test_workers_of_the_gpu_pool_are_shown_with_their_gpu_or_what_is_missing(
    admin: httpx.AsyncClient, deps: Deps, database_url: str
) -> None:
    long_name = f"{'a-node-of-a-cluster-' * 3}:0123456789ab"
    await sign_of_gpu_worker(deps.database, GpuWorker(long_name, can_decode=True, about="Tesla T4: h264"))
    await sign_of_gpu_worker(deps.database, GpuWorker("g2", can_decode=False, about="No driver."))
    async with (
        connected_worker(database_url, long_name),
        connected_worker(database_url, "g2"),
        connected_worker(database_url, "c1"),
    ):
        shown = [(worker.kind, worker.gpu) for _, worker in sorted((await workers_of(admin)).items())]
    assert sorted(shown, key=str) == [("cpu", "No driver."), ("cpu", None), ("gpu", "Tesla T4: h264")]


async def test_worker_that_never_had_a_task_is_known_by_the_end_of_its_name(
    admin: httpx.AsyncClient, deps: Deps, database_url: str
) -> None:
    name = f"{'a-node-of-a-cluster-' * 3}:0123456789ab"
    async with connected_worker(database_url, name):
        ((shown, worker),) = (await workers_of(admin)).items()
        assert (worker.state, worker.last_claimed_at, worker.tasks) == ("idle", None, [])
        assert name.endswith(shown)
        assert shown.endswith("-cluster-:0123456789ab")
        await upload_video(admin)
        (claim,) = await task_queue.claim(deps.database, worker=name)
        assert {name: worker.state for name, worker in (await workers_of(admin)).items()} == {name: "running"}
        await task_queue.release(deps.database, claim.lease)
        assert {name: worker.state for name, worker in (await workers_of(admin)).items()} == {name: "idle"}


async def test_worker_that_is_connected_but_silent_is_not_shown_as_idle(
    admin: httpx.AsyncClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected_worker(database_url, "host-1:a"):
        assert set(await workers_of(admin)) == {"host-1:a"}
        monkeypatch.setattr(queue_status, "SEEN_SECONDS", 0)
        assert await workers_of(admin) == {}

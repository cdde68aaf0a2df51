"""The row of lost answers: a COMMIT succeeds, but its client never gets the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from cluster.local.servers.embedded_postgres import url_of
from db.cache import open_cache
from db.connection import is_outage, open_database, retry_until_available
from db.queue import task_queue
from db.values.segment import Segment
from serve_app.app import create_app
from tests.faults.injection.commit_proxy import AnswerProxy
from tests.faults.row_outcome import Outcome
from tests.faults.rows.queue_harness import claim_one, count_outcomes, fetch_number, postgres
from tests.support.clients import api_client
from tests.support.state import database_rows
from tests.support.state.queue_steps import publish_result

COMMITS_OF_A_CALL = 6
"""More COMMITs than one accepting call makes."""
SEGMENTS = [Segment(0, 0, 2, 10), Segment(1, 2, 3, 10)]


async def commit_answer_lost(full: bool, folder: Path) -> Outcome:
    """Drops the answer to each COMMIT of accept in turn, then to those of claim, split, segment and publish."""
    rounds = 20 if full else 2
    async with postgres(folder) as server:
        proxy = AnswerProxy(folder / "sockets")
        direct = open_database(server.url(), name="judge")
        async with proxy.listening(folder / "proxy"):
            faulty = open_database(url_of(folder / "proxy", "test"), name="victim")
            try:
                extraction_ids, differing_answers = await _accept_rounds(faulty, direct, proxy, folder, rounds)
                await _perform_all_tasks(faulty, direct, proxy)
                counts = await count_outcomes(direct, extraction_ids)
                rescued_claims = await fetch_number(direct, "SELECT coalesce(sum(losses), 0) FROM tasks")
            finally:
                await faulty.dispose()
                await direct.dispose()
    assert proxy.dropped >= rounds, "no answer was dropped"
    return Outcome(
        name="The answer to a COMMIT is lost",
        how="a proxy drops the answer to COMMIT, at each COMMIT of accept, claim, split, segment, publish",
        accepted=len(extraction_ids),
        lost=counts.lost,
        duplicated=counts.duplicated + differing_answers,
        stale=counts.stale,
        note=f"{proxy.dropped} answers dropped; {rescued_claims} claims nobody heard of were rescued",
    )


async def _accept_rounds(
    faulty: AsyncEngine, direct: AsyncEngine, proxy: AnswerProxy, folder: Path, rounds: int
) -> tuple[list[UUID], int]:
    """Returns the accepted extractions, and how many repeated calls got a different answer."""
    # Nothing listens at this address: the API works without its cache.
    cache = open_cache("redis://127.0.0.1:1/0")
    deps = api_client.make_deps(faulty, folder / "objects", cache)
    extraction_ids, differing_answers = [], 0
    try:
        async with api_client.open_client(create_app(deps)) as client:
            await api_client.log_in(client)
            for call_number in range(rounds * COMMITS_OF_A_CALL):
                key = {"Idempotency-Key": f"call-{call_number}"}
                proxy.drop_after(call_number % COMMITS_OF_A_CALL)
                first = await _repeat_until_accepted(client, direct, key)
                proxy.stop_dropping()
                again = await api_client.upload_videos(client, ("clip.mp4", api_client.MP4), headers=key)
                differing_answers += again.status_code != 201 or again.json() != first
                extraction_ids.append(UUID(first["items"][0]["extraction"]["id"]))
    finally:
        deps.password_hasher.close()
        await cache.close()
    return extraction_ids, differing_answers


async def _repeat_until_accepted(client: httpx.AsyncClient, direct: AsyncEngine, key: dict[str, str]) -> dict[str, Any]:
    for _ in range(5):
        answer = await api_client.upload_videos(client, ("clip.mp4", api_client.MP4), headers=key)
        if answer.status_code == 201:
            accepted: dict[str, Any] = answer.json()
            return accepted
        assert answer.status_code in {409, 503}, answer.text
        # A call without its answer leaves a leased key. Let the lease expire.
        await database_rows.execute(
            direct, "UPDATE idempotency_keys SET lease_expires_at = now() - interval '1 s' WHERE response IS NULL"
        )
    raise AssertionError(answer.text)


async def _perform_all_tasks(faulty: AsyncEngine, direct: AsyncEngine, proxy: AnswerProxy) -> None:
    """Claims, splits and publishes every task; each answer is lost once."""
    while await fetch_number(direct, "SELECT count(*) FROM tasks WHERE state IN ('ready', 'throttled')"):
        with pytest.raises(DBAPIError) as lost:
            await _lose_answer(proxy, partial(claim_one, faulty, "unheard"))
        assert is_outage(lost.value), lost.value
        await _rescue_lost_claim(direct)
        claim = await claim_one(direct)
        await _lose_answer(proxy, partial(retry_until_available, partial(_end_task, faulty, claim)))


async def _end_task(database: AsyncEngine, claim: task_queue.Claim) -> None:
    match claim.kind:
        case "segment":
            assert claim.segment is not None
            frames = claim.segment.stop - claim.segment.first
            await task_queue.publish_segment(
                database, claim.lease, key=f"results/{claim.segment.number}", frames=frames
            )
        case "extract" if claim.extraction_id.int % 2:
            lease = claim.lease
            await task_queue.split(
                database, lease, media={}, frames_total=3, plan_key="results/plan", segments=SEGMENTS
            )
        case _:
            await publish_result(database, claim.lease)


async def _lose_answer(proxy: AnswerProxy, call: Callable[[], Awaitable[object]]) -> None:
    before = proxy.dropped
    proxy.drop_after(0)
    try:
        await call()
    finally:
        proxy.stop_dropping()
    assert proxy.dropped == before + 1, "no answer was dropped"


async def _rescue_lost_claim(database: AsyncEngine) -> None:
    """Lets the lease of a claim expire whose answer was lost, and rescues the task."""
    await database_rows.execute(
        database, "UPDATE tasks SET lease_expires_at = now() - interval '1 s' WHERE leased_by = 'unheard'"
    )
    rescued = await task_queue.rescue(database, jitter=0.0, lease_seconds=0)
    assert (rescued.again, rescued.ended) == (1, 0), rescued

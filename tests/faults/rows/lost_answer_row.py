"""The row of lost responses: a COMMIT succeeds, and its client never gets the response."""

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
from tests.faults.rows.queue_harness import claim_one, count, number, postgres
from tests.support.clients import api_client
from tests.support.state import database_rows
from tests.support.state.queue_steps import publish_result

COMMITS_OF_A_CALL = 6
"""More than one accepting call makes."""
SEGMENTS = [Segment(0, 0, 2, 10), Segment(1, 2, 3, 10)]


async def commit_answer_lost(full: bool, folder: Path) -> Outcome:
    """Each COMMIT of accepting, in turn, then those of claim, split, segment and publish."""
    rounds = 20 if full else 2
    async with postgres(folder) as server:
        proxy = AnswerProxy(folder / "sockets")
        direct = open_database(server.url(), name="judge")
        async with proxy.listening(folder / "proxy"):
            faulty = open_database(url_of(folder / "proxy", "test"), name="victim")
            try:
                made, twice = await _accept_rounds(faulty, direct, proxy, folder, rounds)
                await _work_off(faulty, direct, proxy)
                found = await count(direct, made)
                burnt = await number(direct, "SELECT coalesce(sum(losses), 0) FROM tasks")
            finally:
                await faulty.dispose()
                await direct.dispose()
    assert proxy.dropped >= rounds, "no answer was dropped"
    return Outcome(
        name="The answer to a COMMIT is lost",
        how="a proxy drops the answer to COMMIT, at each COMMIT of accept, claim, split, segment, publish",
        accepted=len(made),
        lost=found.lost,
        duplicated=found.duplicated + twice,
        stale=found.stale,
        note=f"{proxy.dropped} answers dropped; {burnt} claims nobody heard of were rescued",
    )


async def _accept_rounds(
    faulty: AsyncEngine, direct: AsyncEngine, proxy: AnswerProxy, folder: Path, rounds: int
) -> tuple[list[UUID], int]:
    """Gives the accepted extractions, and how many calls were answered in two ways."""
    # Nothing listens there: the losable cache is lost.
    cache = open_cache("redis://127.0.0.1:1/0")
    deps = api_client.make_deps(faulty, folder / "objects", cache)
    made, twice = [], 0
    try:
        async with api_client.open_client(create_app(deps)) as client:
            await api_client.log_in(client)
            for turn in range(rounds * COMMITS_OF_A_CALL):
                key = {"Idempotency-Key": f"call-{turn}"}
                proxy.drop_after(turn % COMMITS_OF_A_CALL)
                first = await _until_accepted(client, direct, key)
                proxy.rest()
                again = await api_client.upload_videos(client, ("clip.mp4", api_client.MP4), headers=key)
                twice += again.status_code != 201 or again.json() != first
                made.append(UUID(first["items"][0]["extraction"]["id"]))
    finally:
        deps.password_hasher.close()
        await cache.close()
    return made, twice


async def _until_accepted(client: httpx.AsyncClient, direct: AsyncEngine, key: dict[str, str]) -> dict[str, Any]:
    for _ in range(5):
        answer = await api_client.upload_videos(client, ("clip.mp4", api_client.MP4), headers=key)
        if answer.status_code == 201:
            accepted: dict[str, Any] = answer.json()
            return accepted
        assert answer.status_code in {409, 503}, answer.text
        # The key of a call that was cut off is leased: its time passes.
        await database_rows.execute(
            direct, "UPDATE idempotency_keys SET lease_expires_at = now() - interval '1 s' WHERE response IS NULL"
        )
    raise AssertionError(answer.text)


async def _work_off(faulty: AsyncEngine, direct: AsyncEngine, proxy: AnswerProxy) -> None:
    """Claims, splits and publishes with each answer lost once."""
    while await number(direct, "SELECT count(*) FROM tasks WHERE state IN ('ready', 'throttled')"):
        with pytest.raises(DBAPIError) as lost:
            await _lossy(proxy, partial(claim_one, faulty, "unheard"))
        assert is_outage(lost.value), lost.value
        await _rescue_unheard(direct)
        claim = await claim_one(direct)
        await _lossy(proxy, partial(retry_until_available, partial(_end, faulty, claim)))


async def _end(database: AsyncEngine, claim: task_queue.Claim) -> None:
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


async def _lossy(proxy: AnswerProxy, call: Callable[[], Awaitable[object]]) -> None:
    before = proxy.dropped
    proxy.drop_after(0)
    try:
        await call()
    finally:
        proxy.rest()
    assert proxy.dropped == before + 1, "the answer came after all"


async def _rescue_unheard(database: AsyncEngine) -> None:
    """The lease of a claim that nobody heard of runs out."""
    await database_rows.execute(
        database, "UPDATE tasks SET lease_expires_at = now() - interval '1 s' WHERE leased_by = 'unheard'"
    )
    rescued = await task_queue.rescue(database, jitter=0.0, lease_seconds=0)
    assert (rescued.again, rescued.ended) == (1, 0), rescued

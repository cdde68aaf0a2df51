"""`fotograma ops replay-events`: the stream gets the events again, with their ids and in their order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.notify.redis_stream_relay import open_relay
from tests.integration.cluster.ops.conftest import RunOps
from tests.support.state import database_rows

KEY = "fotograma:events"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        yield redis


async def ids_in_stream(redis: Redis) -> list[int]:
    entries: Any = await redis.xrange(KEY)
    return [int(fields["id"]) for _, fields in entries]


async def send_all(database: AsyncEngine, redis_url: str) -> None:
    relay = open_relay(database, redis_url, key=KEY, length=1000)
    await relay.run_once()
    await relay.close()


async def test_lost_stream_has_all_events_since_the_time_again(
    ops: RunOps, database: AsyncEngine, redis: Redis, redis_url: str
) -> None:
    before = [await database_rows.accept_video(database) for _ in range(2)]
    await database_rows.execute(database, "UPDATE events SET at = now() - interval '2 hours'")
    for _ in range(3):
        await database_rows.accept_video(database)
    await send_all(database, redis_url)
    sent = await ids_in_stream(redis)
    await redis.delete(KEY)
    counted = await ops("replay-events", "--since", "1h", "--dry-run")
    assert counted.out == "3 events would be sent again.\n"
    assert await ids_in_stream(redis) == []
    done = await ops("replay-events", "--since", "1h")
    assert (done.code, done.out) == (0, "3 events were sent again.\n"), done.err
    assert await ids_in_stream(redis) == sent[len(before) :]
    # What is new comes once, after them.
    await database_rows.accept_video(database)
    await send_all(database, redis_url)
    assert len(await ids_in_stream(redis)) == 4


async def test_events_that_were_not_sent_yet_are_not_passed_over(
    ops: RunOps, database: AsyncEngine, redis: Redis, redis_url: str
) -> None:
    await database_rows.accept_video(database)
    await database_rows.execute(database, "UPDATE events SET at = now() - interval '2 hours'")
    await database_rows.accept_video(database)
    assert (await ops("replay-events", "--since", "1h")).code == 0
    assert len(await ids_in_stream(redis)) == 2


async def test_nothing_happens_without_events_in_that_time(ops: RunOps, redis: Redis) -> None:
    future = datetime(2099, 1, 1, tzinfo=UTC).isoformat()
    assert (await ops("replay-events", "--since", future)).out == "0 events were sent again.\n"
    assert await ids_in_stream(redis) == []


async def test_redis_that_is_away_is_said_and_the_cursor_stays(
    ops: RunOps, database: AsyncEngine, redis: Redis, redis_url: str, settings: pytest.MonkeyPatch
) -> None:
    await database_rows.accept_video(database)
    await send_all(database, redis_url)
    cursor = await database_rows.fetch_one(database, "SELECT * FROM stream_cursor")
    settings.setenv("FOTOGRAMA_REDIS_URL", "redis://127.0.0.1:1")
    refused = await ops("replay-events", "--since", "1h")
    assert (refused.code, "Redis does not answer" in refused.err) == (69, True)
    assert await database_rows.fetch_one(database, "SELECT * FROM stream_cursor") == cursor
    settings.delenv("FOTOGRAMA_REDIS_URL")
    refused = await ops("replay-events", "--since", "1h")
    assert (refused.code, "FOTOGRAMA_REDIS_URL is not set" in refused.err) == (1, True)

"""The Redis Stream of life-cycle events: no outage loses an event, and consumer groups can read it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.notify import redis_stream_relay as relays
from actors.notify.redis_stream_relay import StreamRelay, open_relay
from db.notification import event_log
from tests.support.servers.real_servers import running_valkey
from tests.support.state import database_rows
from tests.support.state.database_rows import Accepted
from tests.support.state.queue_steps import claim_one, publish_result

KEY, LENGTH = "fotograma:events", 100_000

Entries = list[tuple[str, dict[str, str]]]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def relay(database: AsyncEngine, redis_url: str) -> AsyncIterator[StreamRelay]:
    stream_relay = open_relay(database, redis_url, key=KEY, length=LENGTH)
    yield stream_relay
    await stream_relay.close()


async def accept_and_publish(database: AsyncEngine) -> Accepted:
    accepted = await database_rows.accept_video(database)
    await publish_result(database, (await claim_one(database)).lease)
    return accepted


async def event_ids(database: AsyncEngine) -> list[int]:
    return list((await database_rows.fetch_one(database, "SELECT array_agg(id ORDER BY id) AS all FROM events")).all)


async def stream_entries(redis: Redis) -> Entries:
    entries: Any = await redis.xrange(KEY)
    return list(entries)


def relayed_ids(entries: Entries) -> list[int]:
    return [int(fields["id"]) for _, fields in entries]


async def test_every_event_is_relayed_once_in_order_with_its_user(
    database: AsyncEngine, relay: StreamRelay, redis: Redis
) -> None:
    accepted = await accept_and_publish(database)
    assert await relay.run_once() == 3
    assert await relay.run_once() == 0
    entries = await stream_entries(redis)
    assert relayed_ids(entries) == await event_ids(database)
    assert [fields["kind"] for _, fields in entries] == ["accepted", "claimed", "published"]
    fields = entries[1][1]
    assert fields["extraction_id"] == str(accepted.extraction_id)
    assert (fields["video_id"], fields["user_id"]) == (str(accepted.video_id), str(accepted.user_id))
    assert json.loads(fields["data"])["attempt"] == 1
    await accept_and_publish(database)
    assert await relay.run_once() == 3
    assert await redis.ttl(KEY) == -1


async def test_consumers_of_a_group_share_the_events(database: AsyncEngine, relay: StreamRelay, redis: Redis) -> None:
    await redis.xgroup_create(KEY, "billing", id="0", mkstream=True)
    for _ in range(2):
        await accept_and_publish(database)
    await relay.run_once()
    seen = []
    for consumer in ("a", "b", "a"):
        answer: Any = await redis.xreadgroup("billing", consumer, {KEY: ">"}, count=2)
        ((_, entries),) = answer
        seen += relayed_ids(entries)
        await redis.xack(KEY, "billing", *(entry for entry, _ in entries))
    assert seen == await event_ids(database)
    assert (await redis.xpending(KEY, "billing"))["pending"] == 0


async def test_event_that_commits_late_is_relayed(
    database: AsyncEngine, database_url: str, relay: StreamRelay, redis: Redis
) -> None:
    """Its id is lower than the id of an event that is already committed."""
    first = await database_rows.accept_video(database)
    await relay.run_once()
    async with await psycopg.AsyncConnection.connect(database_url) as late_connection:
        statement = "INSERT INTO events (extraction_id, kind) VALUES (%s, 'late')"
        await late_connection.execute(statement, [first.extraction_id])
        await database_rows.accept_video(database)
        await relay.run_once()
        assert "late" not in [fields["kind"] for _, fields in await stream_entries(redis)]
    await relay.run_once()
    assert relayed_ids(await stream_entries(redis)) == await event_ids(database)


async def test_events_of_one_extraction_keep_their_order(
    database: AsyncEngine, database_url: str, relay: StreamRelay, redis: Redis
) -> None:
    accepted = await database_rows.accept_video(database)
    await relay.run_once()
    statement = "INSERT INTO events (extraction_id, kind) VALUES (%s, %s)"
    async with await psycopg.AsyncConnection.connect(database_url) as older:
        await older.execute("SELECT pg_current_xact_id()")
        async with await psycopg.AsyncConnection.connect(database_url) as newer:
            await newer.execute(statement, [accepted.extraction_id, "first"])
        await relay.run_once()
        await older.execute(statement, [accepted.extraction_id, "second"])
    await relay.run_once()
    assert [fields["kind"] for _, fields in await stream_entries(redis)] == ["accepted", "first", "second"]


async def test_long_backlog_is_relayed_in_pages(
    database: AsyncEngine, relay: StreamRelay, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "PAGE_EVENTS", 2)
    for _ in range(3):
        await accept_and_publish(database)
    assert await relay.run_once() == 9
    assert relayed_ids(await stream_entries(redis)) == await event_ids(database)


async def test_two_concurrent_relays_skip_no_event(
    database: AsyncEngine, relay: StreamRelay, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "PAGE_EVENTS", 3)
    other = open_relay(database, redis_url, key=KEY, length=LENGTH)
    running = True

    async def relay_events(each: StreamRelay) -> None:
        while running:
            await each.run_once()

    relaying = [asyncio.create_task(relay_events(each)) for each in (relay, other)]
    await asyncio.gather(*(database_rows.accept_video(database) for _ in range(40)))
    running = False
    await asyncio.gather(*relaying)
    await relay.run_once()
    assert sorted(set(relayed_ids(await stream_entries(redis)))) == await event_ids(database)
    await other.close()


async def test_event_whose_position_was_not_saved_is_relayed_again(
    database: AsyncEngine, relay: StreamRelay, redis: Redis
) -> None:
    await database_rows.accept_video(database)

    async def die() -> None:
        async with event_log.next_page(database, 10) as events:
            assert len(events) == 1
            raise RuntimeError("maintenance died here")

    with pytest.raises(RuntimeError, match="died here"):
        await die()
    assert await relay.run_once() == 1


async def test_events_wait_while_redis_is_away(database: AsyncEngine, server_folder: Path) -> None:
    (folder := server_folder / "stream").mkdir()
    with running_valkey(folder) as server:
        relay = open_relay(database, server.url, key=KEY, length=LENGTH)
        await accept_and_publish(database)
        assert await relay.run_once() == 3
        server.stop()
        await accept_and_publish(database)
        assert await relay.run_once() == 0
        server.start()
        assert await relay.run_once() == 3
        async with Redis.from_url(server.url, decode_responses=True) as redis:
            assert (await event_ids(database))[3:] == relayed_ids(await stream_entries(redis))[-3:]
        await relay.close()


async def test_stream_length_is_bounded(database: AsyncEngine, redis: Redis, redis_url: str) -> None:
    relay = open_relay(database, redis_url, key=KEY, length=100)
    statement = "INSERT INTO events (extraction_id, kind) SELECT :id, 'claimed' FROM generate_series(1, 2000)"
    accepted = await database_rows.accept_video(database)
    await database_rows.execute(database, statement, id=accepted.extraction_id)
    assert await relay.run_once() == 2001
    assert await redis.xlen(KEY) < 500
    await relay.close()


async def test_unrelayed_events_are_found_by_an_index(database: AsyncEngine) -> None:
    """The query does not read all ids from the first one on."""
    accepted = await database_rows.accept_video(database)
    statement = "INSERT INTO events (extraction_id, kind) SELECT :id, 'claimed' FROM generate_series(1, 20000)"
    await database_rows.execute(database, statement, id=accepted.extraction_id)
    await database_rows.execute(database, "ANALYZE events")
    async with database.connect() as connection:
        plan = "\n".join(
            (await connection.execute(text(f"EXPLAIN {event_log.NEXT_WINDOW.text}"), {"low": 10**9})).scalars()
        )
    assert "events_transaction_id_idx" in plan
    assert "events_pkey" not in plan

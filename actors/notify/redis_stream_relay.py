"""Copies the life-cycle events to a Redis Stream, which other services read.

The events table decides what is sent: events that Redis has missed are sent when it is back. Each event is sent at
least once, in the order of its extraction, with its id as a field.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.typing import EncodableT, FieldT
from sqlalchemy.ext.asyncio import AsyncEngine

from db.connection import IDLE_IN_TRANSACTION_SECONDS
from db.notification import event_log
from db.notification.event_log import Event

PAGE_EVENTS = 500
ANSWER_SECONDS = IDLE_IN_TRANSACTION_SECONDS / 5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StreamRelay:
    """key: of the stream, without an expiry, so that `volatile-lru` never evicts it. length: about how many entries
    it keeps.
    """

    database: AsyncEngine
    redis: Redis
    key: str
    length: int

    async def run_once(self) -> int:
        """Sends all new events and returns how many. While Redis is away they wait."""
        sent = 0
        try:
            while (count := await self.send_page()) == PAGE_EVENTS:
                sent += count
            sent += count
        except (RedisError, OSError, TimeoutError) as error:
            log.warning(
                "Redis is away; the events wait.", event_name="stream.failed", error=str(error) or type(error).__name__
            )
        return sent

    async def send_page(self) -> int:
        """Sends the next events and returns how many; 0 also while another relay sends. Raises as redis does."""
        async with event_log.next_page(self.database, PAGE_EVENTS) as events:
            if events:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._add(events)
        return len(events)

    async def _add(self, events: Sequence[Event]) -> None:
        pipeline = self.redis.pipeline(transaction=False)
        for event in events:
            pipeline.xadd(self.key, entry(event), maxlen=self.length, approximate=True)
        await pipeline.execute()

    async def close(self) -> None:
        await self.redis.aclose()


def open_relay(database: AsyncEngine, redis_url: str, *, key: str, length: int) -> StreamRelay:
    """redis_url: redis:// or unix://."""
    redis = Redis.from_url(redis_url, socket_connect_timeout=ANSWER_SECONDS, socket_timeout=ANSWER_SECONDS)
    return StreamRelay(database, redis, key, length)


def entry(event: Event) -> dict[FieldT, EncodableT]:
    """Returns the fields of a stream entry, all text. data: a JSON object."""
    return {
        "id": str(event.id),
        "kind": event.kind,
        "extraction_id": str(event.extraction_id),
        "video_id": str(event.video_id),
        "user_id": str(event.user_id),
        "at": event.at.isoformat(),
        "data": orjson.dumps(event.data),
    }

"""Sends events to the Redis Stream again: after Redis has lost them, or a consumer has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from cluster.operations.operation_errors import OperationError, ServerAway

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from cluster.settings import Settings
    from db.notification.event_log import Replay

PAUSE_SECONDS = 0.2
STALLED_SECONDS = 60.0
"""Without progress for so long, the command leaves the rest to maintenance."""


async def replay_events(
    database: AsyncEngine, settings: Settings, since: datetime, tell: Callable[[str], None]
) -> Replay | None:
    """Returns what was sent again; None when nothing has happened since then. Raises OperationError.

    Moves the cursor of the stream back and sends, beside maintenance: one of them holds the cursor at a time, so that
    each extraction keeps its order.
    """
    from redis.exceptions import RedisError  # noqa: PLC0415

    from actors.notify.redis_stream_relay import open_relay  # noqa: PLC0415
    from db.notification import event_log  # noqa: PLC0415

    if not settings.events_stream or settings.redis_url is None:
        raise OperationError(
            "The service has no stream of events: set FOTOGRAMA_EVENTS_STREAM and FOTOGRAMA_REDIS_URL."
        )
    replay = await event_log.find_replay(database, since)
    if replay is None:
        return None
    relay = open_relay(database, settings.redis_url, key=settings.events_stream, length=settings.events_stream_length)
    try:
        await relay.redis.ping()
        await event_log.rewind(database, replay)
        moved_at, sent = time.monotonic(), 0
        while not await event_log.is_sent(database, replay):
            count = await relay.send_page()
            if count:
                moved_at, sent = time.monotonic(), sent + count
                tell(f"{sent} events sent ...")
            elif time.monotonic() - moved_at > STALLED_SECONDS:
                raise OperationError("The stream does not get on; maintenance sends the rest when it can.")
            else:
                await asyncio.sleep(PAUSE_SECONDS)
    except (RedisError, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise ServerAway("Redis", f"{reason}; what was not sent again comes when it is back") from error
    finally:
        await relay.close()
    return replay

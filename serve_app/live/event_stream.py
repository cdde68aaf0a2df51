"""One stream of server-sent events (WHATWG HTML, 9.2): snapshots of an account's extractions.

The id of an event is the oldest transaction whose changes the client may not have. It is also sent alone, so that a
client knows it before the first event, and while nothing changes. So what a client gets again after a reconnect is
little. A snapshot may come twice, and after a newer one: the client keeps the highest version.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from serve_app.concurrent_exports import EndingResponse
from serve_app.live.extraction_feed import ExtractionFeed, Subscription, in_chunks
from serve_app.live.pending_events import Batch

KEEP_ALIVE_SECONDS = 10.0
"""Below 15 s, which is promised, so that a busy replica keeps the promise too."""
SEND_SECONDS = 30.0
"""A client that takes nothing for so long is disconnected."""
RETRY_MILLISECONDS = (500, 2000)
"""How long clients wait before they connect again. After a restart of a replica they do not come all at once."""
_ID = re.compile(r"[0-9]{1,18}")
_UNKNOWN: Final = -1
HEADERS = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
"""The second one tells nginx to pass on each event at once."""


class EventStreamResponse(EndingResponse):
    """Sends a stream of events. Gives up a client that takes nothing for SEND_SECONDS."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await send(message)
            except TimeoutError as error:
                raise ClientDisconnect from error

        await super().__call__(scope, receive, send_in_time)


def parse_last_event_id(header: str | None) -> int | None:
    """Returns the transaction that a Last-Event-ID names, None without one. An id that no stream sent is unknown."""
    if not header:
        return None
    return int(header) if _ID.fullmatch(header) else _UNKNOWN


async def write_stream(
    feed: ExtractionFeed, subscription: Subscription, last_event_id: int | None, seconds: float
) -> AsyncIterator[bytes]:
    """Yields what is to be sent, until the subscription ends or `seconds` have passed."""
    yield b"retry: %d\n" % random.randint(*RETRY_MILLISECONDS)  # noqa: S311 - spreads the load
    if last_event_id is None:
        yield _id(subscription.pending.end)
    else:
        async for chunk in _write_missed(feed, subscription, last_event_id, subscription.pending.end):
            yield chunk
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    while (left := ends_at - loop.time()) > 0:
        await _wait_for_change(subscription, min(left, KEEP_ALIVE_SECONDS))
        if subscription.has_ended:
            return
        batch = subscription.pending.take()
        if batch.is_incomplete:
            async for chunk in _write_missed(feed, subscription, batch.start, batch.end):
                yield chunk
        else:
            yield _write_batch(batch)


async def _wait_for_change(subscription: Subscription, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await subscription.changed.wait()
    except TimeoutError:
        return
    subscription.changed.clear()


def _write_batch(batch: Batch) -> bytes:
    """Only the last event says that the whole batch was sent. Without events it is a sign of life."""
    if not batch.snapshots:
        return b": keep-alive\n" + _id(batch.end)
    events = [_event(snapshot, batch.start) for snapshot in batch.snapshots[:-1]]
    return b"".join([*events, _event(batch.snapshots[-1], batch.end)])


async def _write_missed(feed: ExtractionFeed, subscription: Subscription, start: int, end: int) -> AsyncIterator[bytes]:
    """Yields what may have changed from the transaction `start` on, and then the id `end`.

    What changes meanwhile is in the subscription already.
    """
    keys = None if start == _UNKNOWN else await feed.read_missed(subscription.user_id, start)
    if keys is None:
        # The ids that follow are as unknown to the client as the first one, until it has all.
        start = 0
        keys = await feed.read_unended(subscription.user_id)
        yield b"event: reset\ndata: {}\n\n"
    for chunk in in_chunks(keys):
        snapshots: Sequence[bytes] = list((await feed.read_snapshots(chunk)).values())
        yield b"".join(_event(snapshot, start) for snapshot in snapshots)
    yield _id(end)


def _id(transaction: int) -> bytes:
    return b"id: %d\n\n" % transaction


def _event(snapshot: bytes, transaction: int) -> bytes:
    return b"id: %d\nevent: extraction\ndata: %b\n\n" % (transaction, snapshot)

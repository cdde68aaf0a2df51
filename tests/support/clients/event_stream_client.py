"""A client of server-sent events, as WHATWG HTML 9.2 describes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

WAIT_SECONDS = 60


@dataclass(frozen=True)
class ServerSentEvent:
    type: str
    data: Any


class EventStream:
    """An open stream. last_event_id: what the client would send when it connects again."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_event_id: str | None = None
        self.comments = 0
        self._lines = response.aiter_lines()

    async def next(self) -> ServerSentEvent:
        """The next event with data. Raises StopAsyncIteration when the stream ends."""
        async with asyncio.timeout(WAIT_SECONDS):
            while (event := await self._next_block()) is None:
                pass
            return event

    async def next_extraction(self) -> dict[str, Any]:
        event = await self.next()
        assert event.type == "extraction", event
        extraction: dict[str, Any] = event.data
        return extraction

    async def wait_for_id(self) -> str:
        """The id that the stream sends before anything else, without data."""
        async with asyncio.timeout(WAIT_SECONDS):
            while self.last_event_id is None:
                assert await self._next_block() is None
        return self.last_event_id

    async def wait_for_end(self) -> None:
        """Returns when the server has ended the stream."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                try:
                    await self._next_block()
                except StopAsyncIteration:
                    return

    async def _next_block(self) -> ServerSentEvent | None:
        """The event of the next block of lines; None when the block has no data."""
        kind, data = "message", ""
        while line := await anext(self._lines):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "":
                    self.comments += 1
                case "event":
                    kind = value
                case "data":
                    data += value
                case "id":
                    self.last_event_id = value
                case _:
                    assert name == "retry", line
        return ServerSentEvent(kind, json.loads(data)) if data else None


@asynccontextmanager
async def open_stream(
    port: int, headers: Mapping[str, str], last_event_id: str | None = None
) -> AsyncIterator[EventStream]:
    """Connects to `/v1/events`, and waits until the stream has begun."""
    sent = dict(headers) | ({} if last_event_id is None else {"Last-Event-ID": last_event_id})
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_SECONDS) as client,
        client.stream("GET", "/v1/events", headers=sent) as response,
    ):
        assert response.status_code == 200, await response.aread()
        yield EventStream(response)

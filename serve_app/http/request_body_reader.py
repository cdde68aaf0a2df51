"""Reads a request body by byte counts. What has arrived stays readable when the client disconnects."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from starlette.requests import ClientDisconnect

from db.values.error_catalogue import CatalogueError
from serve_app.http.server.slow_clients import enforce_min_rate, request_timeout_error

MAX_WAITING_BLOCKS = 1
"""The most blocks of the body that wait in memory. Then the client has to wait. A block has up to 300 KB, and a replica
reads many uploads at a time.
"""


class RequestBodyReader:
    """A body in blocks, as Starlette's `Request.stream` gives them.

    hasher: gets every byte that is read, if there is one. max_seconds: for the whole body. was_disconnected: the client
    disconnected, or was too slow, before the end of the body. timeout_error: the answer to a client that was too slow.
    """

    def __init__(self, blocks: AsyncIterator[bytes], hasher: Any = None, max_seconds: float | None = None) -> None:
        self.was_disconnected = False
        self.timeout_error: CatalogueError | None = None
        self._max_seconds = max_seconds
        self._hasher = hasher
        self._blocks: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING_BLOCKS)
        self._peeked: deque[bytes] = deque()
        self._reader = asyncio.create_task(self._read_all(blocks))

    async def peek(self, count: int) -> bytes:
        """Returns the next `count` bytes without consuming them; fewer when the body ends before."""
        head = b"".join(self._peeked)
        while len(head) < count and (block := await self._next_block()):
            self._peeked.append(block)
            head += block
        return head[:count]

    async def has_more(self) -> bool:
        """Whether there is another byte. Waits for it."""
        return bool(self._peeked) or bool(await self.peek(1))

    async def read(self, limit: int) -> AsyncGenerator[bytes, None]:
        """Yields at most `limit` bytes, in blocks."""
        while limit > 0 and (block := self._peeked.popleft() if self._peeked else await self._next_block()):
            if len(block) > limit:
                self._peeked.appendleft(block[limit:])
                block = block[:limit]
            limit -= len(block)
            if self._hasher is not None:
                self._hasher.update(block)
            yield block

    def digest(self) -> bytes:
        """Returns the hasher's digest of the bytes that were read."""
        digest: bytes = self._hasher.digest()
        return digest

    def disconnect(self) -> None:
        """Treats the client as disconnected: the body ends with what has arrived."""
        self._reader.cancel()

    async def close(self) -> None:
        """Stops receiving."""
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def _next_block(self) -> bytes:
        """Returns the next block; an empty one at the end."""
        if self._reader.done() and self._blocks.empty():
            return b""
        return await self._blocks.get()

    async def _read_all(self, blocks: AsyncIterator[bytes]) -> None:
        try:
            async with asyncio.timeout(self._max_seconds), aclosing(enforce_min_rate(blocks)) as paced:
                async for block in paced:
                    if block:
                        await self._blocks.put(block)
        except (ClientDisconnect, asyncio.CancelledError):
            self.was_disconnected = True
        except TimeoutError:
            self.was_disconnected = True
            self.timeout_error = request_timeout_error(f"The body took more than {self._max_seconds} seconds.")
        except CatalogueError as error:
            self.was_disconnected = True
            self.timeout_error = error
        except Exception:
            self.was_disconnected = True
            raise
        finally:
            # A waiting reader waits at an empty queue. The empty block tells it that the body has ended.
            with suppress(asyncio.QueueFull):
                self._blocks.put_nowait(b"")

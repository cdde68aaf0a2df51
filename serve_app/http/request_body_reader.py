"""Reads the bytes of a request body by count, and keeps what arrived when the client goes away."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from starlette.requests import ClientDisconnect

from db.values.error_catalogue import CatalogueError
from serve_app.http.slow_clients import bounded_pace, too_slow

WAITING_BLOCKS = 16
"""Blocks of the body that may wait here. The client is slowed down when there are more."""


class RequestBodyReader:
    """A body in blocks, as Starlette's `Request.stream` gives them.

    hasher: gets every byte that is taken, if there is one. max_seconds: for the whole body. was_cut: the client went
    away, or was too slow, before the body's end. slowness: the error to answer when it was too slow.
    """

    def __init__(self, blocks: AsyncIterator[bytes], hasher: Any = None, max_seconds: float | None = None) -> None:
        self.was_cut = False
        self.slowness: CatalogueError | None = None
        self._max_seconds = max_seconds
        self._hasher = hasher
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue(WAITING_BLOCKS)
        self._pending: deque[bytes] = deque()
        self._reader = asyncio.create_task(self._read_all(blocks))

    async def first_bytes(self, count: int) -> bytes:
        """The next `count` bytes without taking them; fewer when the body ends before."""
        head = b"".join(self._pending)
        while len(head) < count and (block := await self._next_block()):
            self._pending.append(block)
            head += block
        return head[:count]

    async def has_more(self) -> bool:
        """Whether a byte is left."""
        return bool(self._pending) or bool(await self.first_bytes(1))

    async def take(self, limit: int) -> AsyncGenerator[bytes, None]:
        """Takes at most `limit` bytes, in blocks."""
        while limit > 0 and (block := self._pending.popleft() if self._pending else await self._next_block()):
            if len(block) > limit:
                self._pending.appendleft(block[limit:])
                block = block[:limit]
            limit -= len(block)
            if self._hasher is not None:
                self._hasher.update(block)
            yield block

    def digest(self) -> bytes:
        """The hasher's digest of the bytes that were taken."""
        digest: bytes = self._hasher.digest()
        return digest

    def cut(self) -> None:
        """Ends the body here: nobody sends the rest."""
        self._reader.cancel()

    async def close(self) -> None:
        """Stops reading the client."""
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def _next_block(self) -> bytes:
        """The next block; empty at the end."""
        if self._reader.done() and self._arrived.empty():
            return b""
        return await self._arrived.get()

    async def _read_all(self, blocks: AsyncIterator[bytes]) -> None:
        try:
            async with asyncio.timeout(self._max_seconds), aclosing(bounded_pace(blocks)) as paced:
                async for block in paced:
                    if block:
                        await self._arrived.put(block)
        except (ClientDisconnect, asyncio.CancelledError):
            self.was_cut = True
        except TimeoutError:
            self.was_cut = True
            self.slowness = too_slow(f"The body took more than {self._max_seconds} seconds.")
        except CatalogueError as error:
            self.was_cut = True
            self.slowness = error
        except Exception:
            self.was_cut = True
            raise
        finally:
            # Whoever waits for a block waits at an empty queue, and is told that there is none.
            with suppress(asyncio.QueueFull):
                self._arrived.put_nowait(b"")

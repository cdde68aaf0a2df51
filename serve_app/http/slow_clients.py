"""Bounds the time that a client may take for the body of a request: a body that trickles would hold its place, and its
unfinished objects, for as long as its client likes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from db.values.error_catalogue import CatalogueError

SILENT_SECONDS = 60.0
"""A client that sends nothing for so long is taken for one that has gone. The rate is looked at as often."""
MIN_BYTES_PER_SECOND = 500
"""As in Apache's mod_reqtimeout. A chunk of 16 MiB then arrives within ten hours."""


async def bounded_pace(
    blocks: AsyncIterator[bytes], *, clock: Callable[[], float] = time.monotonic
) -> AsyncGenerator[bytes, None]:
    """Yields the blocks of a body. Only the time of waiting for the client counts.

    Raises CatalogueError `request_timeout` when the client is silent, or slower than MIN_BYTES_PER_SECOND.
    """
    waited, arrived = 0.0, 0
    while True:
        started = clock()
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                block = await anext(blocks)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise too_slow(f"Nothing arrived for {SILENT_SECONDS:.0f} seconds.") from error
        waited += clock() - started
        arrived += len(block)
        if waited >= SILENT_SECONDS:
            if arrived < waited * MIN_BYTES_PER_SECOND:
                raise too_slow(f"{arrived} bytes arrived in {waited:.0f} seconds.")
            waited, arrived = 0.0, 0
        yield block


def too_slow(detail: str) -> CatalogueError:
    return CatalogueError("request_timeout", detail)

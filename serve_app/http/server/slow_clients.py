"""Bounds the time that a client may take for the body of a request.

Otherwise a slow client could occupy its place in the admission, and its unfinished objects, without end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from db.values.error_catalogue import CatalogueError

SILENT_SECONDS = 60.0
"""A client that sends nothing for so long counts as disconnected. The rate is checked as often."""
MIN_BYTES_PER_SECOND = 500
"""As in Apache's mod_reqtimeout. The smallest chunk of an upload, 256 KiB, then arrives within nine minutes."""


async def enforce_min_rate(
    blocks: AsyncIterator[bytes], *, clock: Callable[[], float] = time.monotonic
) -> AsyncGenerator[bytes, None]:
    """Yields the blocks of a body. Only the time that the client takes counts, not that of the consumer.

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
            raise request_timeout_error(f"Nothing arrived for {SILENT_SECONDS:.0f} seconds.") from error
        waited += clock() - started
        arrived += len(block)
        if waited >= SILENT_SECONDS:
            if arrived < waited * MIN_BYTES_PER_SECOND:
                raise request_timeout_error(f"{arrived} bytes arrived in {waited:.0f} seconds.")
            waited, arrived = 0.0, 0
        yield block


def request_timeout_error(detail: str) -> CatalogueError:
    """Returns the refusal of a body that takes too long."""
    return CatalogueError("request_timeout", detail)

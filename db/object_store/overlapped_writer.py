"""Writes a stream to a file in a thread, while the next bytes of the stream arrive."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from db.object_store.object_store import WRITE_BYTES

MAX_BATCH_BYTES = 1 << 20
"""What one call in a thread writes, when few streams are written. Each call has to wait for Python's lock twice."""
WAITING_BYTES = 16 << 20
"""What all streams of a store together may have in memory, as long as each gets WRITE_BYTES."""
MAX_BATCH_BLOCKS = 256
"""Some senders give small blocks, and each takes memory of its own."""
FLUSH_BYTES = 1 << 21
"""The disk begins to write whenever so much of a file has been filled, so that fsync has little left to wait for."""


def batch_bytes(streams: int) -> int:
    """Returns what one batch of a stream may have. A stream has two: one is written while the other one is filled."""
    return max(WRITE_BYTES, min(MAX_BATCH_BYTES, WAITING_BYTES // (2 * max(1, streams))))


async def write_stream(file: Any, blocks: AsyncIterator[bytes], digest: Any, max_batch_bytes: Callable[[], int]) -> int:
    """Writes all blocks, and gives them to the digest. Returns the number of bytes.

    file: opened without a buffer. When this function ends, also by an error or a cancellation, no thread uses the file.
    """
    size, writing = 0, None
    try:
        async for batch in _batches(blocks, max_batch_bytes):
            if writing is not None:
                await asyncio.shield(writing)
            start, size = size, size + sum(map(len, batch))
            writing = asyncio.get_running_loop().run_in_executor(None, _write, file, batch, digest, start)
        if writing is not None:
            await asyncio.shield(writing)
        return size
    finally:
        if writing is not None:
            await wait_for_thread(writing)


async def _batches(blocks: AsyncIterator[bytes], max_bytes: Callable[[], int]) -> AsyncIterator[list[bytes]]:
    """Yields the blocks in lists that are large enough for a call in a thread. They are not copied."""
    batch, size = list[bytes](), 0
    async for block in blocks:
        batch.append(block)
        size += len(block)
        if size >= max_bytes() or len(batch) == MAX_BATCH_BLOCKS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write(file: Any, batch: Sequence[bytes], digest: Any, start: int) -> None:
    """start: the byte of the file at which the batch begins."""
    for block in batch:
        digest.update(block)
    end = start + write_blocks(file, batch)
    flushed, filled = (offset // FLUSH_BYTES * FLUSH_BYTES for offset in (start, end))
    if filled > flushed:
        os.posix_fadvise(file.fileno(), flushed, filled - flushed, os.POSIX_FADV_DONTNEED)


def write_blocks(file: Any, blocks: Sequence[bytes]) -> int:
    """Writes all blocks, also when one call writes only a part of them. Returns the number of bytes."""
    left, size = deque(memoryview(block) for block in blocks), 0
    while left:
        written = os.writev(file.fileno(), left)
        size += written
        while left and written >= len(left[0]):
            written -= len(left.popleft())
        if written:
            left[0] = left[0][written:]
    return size


async def wait_for_thread(call: asyncio.Future[Any]) -> None:
    """Waits until a call in a thread has ended, even when the caller is cancelled again. Raises none of its errors."""
    while not call.done():
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError:
            continue
    call.exception()

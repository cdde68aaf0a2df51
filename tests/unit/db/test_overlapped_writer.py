"""A stream is written whole, in batches that all streams together can afford, and no thread outlives the call."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from db.object_store import overlapped_writer
from db.object_store.object_store import WRITE_BYTES
from db.object_store.overlapped_writer import MAX_BATCH_BYTES, WAITING_BYTES, batch_bytes, write_blocks, write_stream


@pytest.mark.parametrize(("streams", "expected"), [(0, MAX_BATCH_BYTES), (1, MAX_BATCH_BYTES), (200, WRITE_BYTES)])
def test_batches_are_large_for_few_streams_and_small_for_many(streams: int, expected: int) -> None:
    assert batch_bytes(streams) == expected


def test_all_streams_together_keep_to_the_memory_or_to_the_smallest_batches() -> None:
    for streams in range(1, 300):
        assert 2 * streams * batch_bytes(streams) <= max(WAITING_BYTES, 2 * streams * WRITE_BYTES)


def test_blocks_are_written_whole_when_a_call_writes_only_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writev = os.writev

    def write_a_part(file: int, blocks: Sequence[memoryview]) -> int:
        return writev(file, [next(block for block in blocks if block)[:3]])

    monkeypatch.setattr(os, "writev", write_a_part)
    with (tmp_path / "file").open("wb", buffering=0) as file:
        assert write_blocks(file, [b"abcde", b"", b"fg", b"hijklm"]) == 13
    assert (tmp_path / "file").read_bytes() == b"abcdefghijklm"


async def test_cancelled_stream_waits_for_the_thread_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end, write = threading.Event(), threading.Event(), write_blocks
    ended = False

    def write_slowly(file: object, blocks: Sequence[bytes]) -> int:
        nonlocal ended
        begun.set()
        assert may_end.wait(20)
        size = write(file, blocks)
        ended = True
        return size

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(WRITE_BYTES)
            await asyncio.sleep(0)

    monkeypatch.setattr(overlapped_writer, "write_blocks", write_slowly)
    with (tmp_path / "file").open("wb", buffering=0) as file:
        stream = asyncio.create_task(write_stream(file, endless(), hashlib.sha256(), lambda: WRITE_BYTES))
        await asyncio.to_thread(begun.wait)
        for _ in range(3):
            stream.cancel()
            await asyncio.sleep(0)
        assert not stream.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await stream
        assert ended

"""Objects in S3, GCS or Azure."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.store import AzureStore, GCSStore, S3Store

from db.object_store.object_store import (
    ListedObject,
    ObjectNotFound,
    StoredObject,
    away,
    blocks_of,
    checked_key,
    translated,
    write_block,
)
from db.object_store.overlapped_writer import batch_bytes, wait_for_thread, write_stream

READ_BYTES, MIN_READ_BYTES = 8 << 20, 1 << 19
"""What one request reads, when few objects are read at a time and when many are."""
READING_BYTES = 32 << 20
"""What all objects that are read may have in memory, as long as each gets MIN_READ_BYTES. A client that downloads
slowly keeps its block for long."""
SPOOL_BYTES = 80 << 20
"""A smaller object is received as a whole, in a temporary file, and then sent. So a client that stalls has nothing in
memory. A chunk of an upload is smaller.
"""
SENDERS = 2
"""How many objects are sent at a time. Each has PARTS_IN_FLIGHT parts in memory, and two that are being read."""
PARTS_IN_FLIGHT = 4
PART_BYTES = 5 << 20
"""The least that S3 takes as a part."""
MAX_PARTS = 10_000
"""The most that S3 takes."""
SIGNING_STORES = (S3Store, GCSStore, AzureStore)


def read_bytes(reads: int) -> int:
    """Returns what one request of a read may bring, when so many objects are read."""
    return max(MIN_READ_BYTES, min(READ_BYTES, READING_BYTES // max(1, reads)))


class CloudStore:
    """Objects in S3, GCS or Azure through obstore, with blocking calls in threads.

    obstore's async calls leave threads behind that abort a process which exits at once.
    """

    def __init__(self, store: Any, spool_folder: Path | None = None) -> None:
        """spool_folder: for temporary files, on a disk; the system's own without it."""
        self._store, self._spool_folder = store, spool_folder
        self._senders = ThreadPoolExecutor(SENDERS, "object-sender")
        self._spools = self._reads = 0

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
        digest = hashlib.sha256()
        checked_key(key)
        with _translated(key), await asyncio.to_thread(self._open_spool) as spool:
            size = await self._receive(spool, chunks, digest)
            if size < SPOOL_BYTES:
                await self._send(key, spool, size)
            else:
                size += await self._stream(key, spool, chunks, digest)
        return StoredObject(size, digest.hexdigest())

    async def put_file(self, key: str, path: Path) -> StoredObject:
        with _translated(key), await asyncio.to_thread(path.open, "rb") as file:
            sha256 = await asyncio.to_thread(lambda: hashlib.file_digest(file, "sha256").hexdigest())
            size = file.tell()
            await self._send(checked_key(key), file, size)
        return StoredObject(size, sha256)

    async def put_in_parts(self, key: str, content: bytes) -> None:
        """Writes a small object in the way of a large one, which a bucket may refuse by itself."""
        with _translated(key):
            await asyncio.to_thread(obstore.put, self._store, checked_key(key), content, use_multipart=True)

    async def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        end = await self.size(key)
        if length is not None:
            end = min(end, start + length)
        self._reads += 1
        try:
            while start < end:
                with _translated(key):
                    last = min(end, start + read_bytes(self._reads))
                    block = await asyncio.to_thread(obstore.get_range, self._store, key, start=start, end=last)
                start = last
                yield bytes(block)
        finally:
            self._reads -= 1

    async def size(self, key: str) -> int:
        with _translated(key):
            return int((await asyncio.to_thread(obstore.head, self._store, checked_key(key)))["size"])

    async def delete(self, key: str) -> None:
        with suppress(ObjectNotFound), _translated(key):
            await asyncio.to_thread(obstore.delete, self._store, checked_key(key))

    async def keys(self, prefix: str) -> list[str]:
        with _translated(prefix):
            pages = await asyncio.to_thread(list, obstore.list(self._store, checked_key(prefix.rstrip("/")) + "/"))
        return sorted(entry["path"] for page in pages for entry in page)

    async def page(self, prefix: str, after: str | None, limit: int) -> list[ListedObject]:
        with _translated(prefix):
            return await asyncio.to_thread(self._page, checked_key(prefix.rstrip("/")) + "/", after, limit)

    async def discard_unfinished(self, seconds: float) -> int:
        # A life-cycle rule of the bucket must delete the parts of interrupted multipart uploads.
        return 0

    async def fetch(self, key: str, into: Path) -> Path:
        with _translated(key), await asyncio.to_thread(into.open, "wb") as file:
            async for block in self.read(key):
                await asyncio.to_thread(file.write, block)
        return into

    def local_path(self, key: str) -> Path | None:
        return None

    async def signed_url(self, key: str, seconds: float) -> str | None:
        if not isinstance(self._store, SIGNING_STORES):
            return None
        with _translated(key):
            expires_in = timedelta(seconds=seconds)
            url: str = await asyncio.to_thread(obstore.sign, self._store, "GET", checked_key(key), expires_in)
            return url

    async def check(self) -> None:
        key = f"checks/{uuid.uuid4().hex}"
        with _translated(key):
            await asyncio.to_thread(obstore.put, self._store, key, b"")
            await asyncio.to_thread(obstore.delete, self._store, key)

    async def free_bytes(self) -> int | None:
        return None

    def _open_spool(self) -> Any:
        if self._spool_folder is not None:
            self._spool_folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(buffering=0, dir=self._spool_folder)

    async def _receive(self, spool: Any, chunks: AsyncIterator[bytes], digest: Any) -> int:
        """Writes chunks to the spool until it has SPOOL_BYTES. Returns how many bytes it has; fewer at the end."""
        self._spools += 1
        try:
            return await write_stream(spool, _first_chunks(chunks), digest, lambda: batch_bytes(self._spools))
        finally:
            self._spools -= 1

    async def _send(self, key: str, file: Any, size: int) -> None:
        """Sends a whole file. After an error it leaves no parts in the bucket."""
        sending = asyncio.get_running_loop().run_in_executor(self._senders, self._put_parts, key, file, size)
        try:
            await asyncio.shield(sending)
        finally:
            await wait_for_thread(sending)

    def _put_parts(self, key: str, file: Any, size: int) -> None:
        file.seek(0)
        part_bytes = max(PART_BYTES, -(-size // MAX_PARTS))
        obstore.put(self._store, key, file, chunk_size=part_bytes, max_concurrency=PARTS_IN_FLIGHT)

    async def _stream(self, key: str, spool: Any, chunks: AsyncIterator[bytes], digest: Any) -> int:
        """Sends what the spool has, and then the other chunks as they arrive. Returns how many bytes those have."""
        size = 0
        writer = await asyncio.to_thread(
            obstore.open_writer, self._store, key, buffer_size=2 * PART_BYTES, max_concurrency=PARTS_IN_FLIGHT
        )
        await asyncio.to_thread(_copy, spool, writer)
        async for block in blocks_of(chunks):
            await asyncio.to_thread(write_block, writer, block, digest)
            size += len(block)
        # The object becomes visible when the writer is closed; a writer that is dropped leaves nothing.
        await asyncio.to_thread(writer.close)
        return size

    def _page(self, prefix: str, after: str | None, limit: int) -> list[ListedObject]:
        found: list[Any] = []
        for listed in obstore.list(self._store, prefix, offset=after, chunk_size=limit):
            # Not every server that speaks Azure's protocol knows where to begin: such a one lists from the start.
            found += [entry for entry in listed if after is None or entry["path"] > after]
            if len(found) >= limit:
                break
        page = sorted(found, key=lambda entry: str(entry["path"]))[:limit]
        return [ListedObject(entry["path"], entry["last_modified"].timestamp()) for entry in page]


async def _first_chunks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields chunks until they have SPOOL_BYTES. The others can still be read."""
    size = 0
    async for chunk in chunks:
        yield chunk
        size += len(chunk)
        if size >= SPOOL_BYTES:
            return


def _copy(spool: Any, writer: Any) -> None:
    spool.seek(0)
    shutil.copyfileobj(spool, writer, PART_BYTES)


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        with translated(key):
            yield
    except obstore.exceptions.BaseError as error:
        raise away() from error

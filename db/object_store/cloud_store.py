"""Objects in S3, GCS or Azure."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterator
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
    chunks_of,
    translated,
    write_block,
)

READ_BYTES = 8 << 20
SIGNING_STORES = (S3Store, GCSStore, AzureStore)


class CloudStore:
    """Objects in S3, GCS or Azure through obstore, with blocking calls in threads.

    obstore's async calls leave threads behind that abort a process which exits at once.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
        digest, size = hashlib.sha256(), 0
        with _translated(key):
            writer = await asyncio.to_thread(obstore.open_writer, self._store, checked_key(key))
            async for block in blocks_of(chunks):
                await asyncio.to_thread(write_block, writer, block, digest)
                size += len(block)
            # The object becomes visible when the writer is closed; a writer that is dropped leaves nothing.
            await asyncio.to_thread(writer.close)
        return StoredObject(size, digest.hexdigest())

    async def put_file(self, key: str, path: Path) -> StoredObject:
        return await self.put(key, chunks_of(path))

    async def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        end = await self.size(key)
        if length is not None:
            end = min(end, start + length)
        with _translated(key):
            for first in range(start, end, READ_BYTES):
                last = min(end, first + READ_BYTES)
                block = await asyncio.to_thread(obstore.get_range, self._store, key, start=first, end=last)
                yield bytes(block)

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

    def _page(self, prefix: str, after: str | None, limit: int) -> list[ListedObject]:
        pages = obstore.list(self._store, prefix, offset=after, chunk_size=limit)
        page = sorted(next(iter(pages), []), key=lambda entry: str(entry["path"]))
        return [ListedObject(entry["path"], entry["last_modified"].timestamp()) for entry in page]


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        with translated(key):
            yield
    except obstore.exceptions.BaseError as error:
        raise away() from error

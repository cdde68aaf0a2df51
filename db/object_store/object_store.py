"""The object store: videos and results as immutable objects under string keys.

Two stores implement this protocol and pass one conformance suite: a folder of this machine
(`db.object_store.folder_store`) and a bucket in S3, GCS or Azure (`db.object_store.cloud_store`);
`db.object_store.store_factory` opens either. An object is visible as a whole or not at all; no key is written twice.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from db.values.error_catalogue import CatalogueError

READ_BYTES = 1 << 20
WRITE_BYTES = 1 << 18
"""What one call in a thread writes, at least. As many uploads as a replica reads at a time may each wait with it."""
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class ObjectNotFound(KeyError):
    """There is no object with this key."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """size: bytes. sha256: lower-case hex of the content."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ListedObject:
    """written: seconds since the epoch, by the store's clock."""

    key: str
    written: float


class ObjectStore(Protocol):
    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
        """Writes an object, which is durable on return. After an error nothing is visible under the key."""

    async def put_file(self, key: str, path: Path) -> StoredObject:
        """The same as `put`, from a local file, which stays where it is."""

    def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Yields the bytes from `start` on: `length` of them, or all to the end. Raises ObjectNotFound."""

    async def size(self, key: str) -> int:
        """Returns the size in bytes. Raises ObjectNotFound."""

    async def delete(self, key: str) -> None:
        """Deletes an object. A missing object is no error."""

    async def keys(self, prefix: str) -> list[str]:
        """Returns the keys below `prefix`, sorted."""

    async def page(self, prefix: str, after: str | None, limit: int) -> list[ListedObject]:
        """Returns at most `limit` objects below `prefix`, in the store's own order, after the key `after`."""

    async def discard_unfinished(self, seconds: float) -> int:
        """Deletes unfinished writes of dead processes that are older than `seconds`; returns how many."""

    async def fetch(self, key: str, into: Path) -> Path:
        """Returns a local file with the object: the store's own file, or a copy at `into`. Raises ObjectNotFound."""

    def local_path(self, key: str) -> Path | None:
        """Returns the store's own file for a key; None when objects are not files of this machine."""

    async def signed_url(self, key: str, seconds: float) -> str | None:
        """Returns a URL at which anybody can read the object for so long; None when the store gives none."""

    async def check(self) -> None:
        """Raises CatalogueError when objects can't be written."""

    async def free_bytes(self) -> int | None:
        """Returns the free space, or None when the store has no limit."""


def checked_key(key: str) -> str:
    """Returns the key. Raises ValueError when it could lead out of the store."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not an object key: {key!r}")
    return key


async def chunks_of(path: Path) -> AsyncIterator[bytes]:
    """Yields a local file in chunks, as `put` takes them."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, READ_BYTES):
            yield chunk


async def blocks_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Joins chunks to blocks that are large enough for a call in a thread."""
    pending, size = list[bytes](), 0
    async for chunk in chunks:
        pending.append(chunk)
        size += len(chunk)
        if size >= WRITE_BYTES:
            block = b"".join(pending)
            # While the block is being written, nothing keeps its parts.
            pending, size = [], 0
            yield block
    if pending:
        yield b"".join(pending)


def write_block(file: Any, block: bytes | memoryview, digest: Any) -> None:
    """Writes a whole block, also when one call writes only a part of it."""
    digest.update(block)
    view = memoryview(block)
    while view:
        view = view[file.write(view) or len(view) :]


def away() -> CatalogueError:
    return CatalogueError("unavailable", "The object store is away.", retry_after=5)


@contextmanager
def translated(key: str) -> Iterator[None]:
    """Translates OSError to ObjectNotFound or CatalogueError."""
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectNotFound(key) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise CatalogueError("storage_full", retry_after=60) from error
        raise away() from error

"""The object store: videos and results as immutable objects under string keys.

Two kinds stand under this protocol and one conformance suite: a folder of this machine
(`db.object_store.folder_store`), and whatever obstore speaks (`db.object_store.cloud_store`: S3, GCS, Azure);
`db.object_store.store_factory` opens either. An object is whole or absent, never half-visible; keys are never
written twice.
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

WRITE_BYTES = 1 << 20
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class ObjectNotFound(KeyError):
    """No object stands under this key."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """size: bytes. sha256: lower-case hex of the content."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object's key, and when it was written: seconds of the epoch, by the store's clock."""

    key: str
    written: float


class ObjectStore(Protocol):
    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
        """Writes an object; durable on return. On any error nothing is visible under the key."""

    async def put_file(self, key: str, path: Path) -> StoredObject:
        """As `put`, from a local file, which stays where it is."""

    def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` on, `length` of them or to the end. Raises ObjectNotFound."""

    async def size(self, key: str) -> int:
        """Bytes. Raises ObjectNotFound."""

    async def delete(self, key: str) -> None:
        """Removes an object; a missing one is no error."""

    async def keys(self, prefix: str) -> list[str]:
        """Keys below `prefix`, sorted."""

    async def page(self, prefix: str, after: str | None, limit: int) -> list[ListedObject]:
        """At most `limit` objects below `prefix`, in the store's own order, from the key after `after` on."""

    async def discard_unfinished(self, seconds: float) -> int:
        """Removes what writers that died left half-written at least `seconds` ago; how many."""

    async def fetch(self, key: str, into: Path) -> Path:
        """A local file to read the object from: its own, or a copy at `into`. Raises ObjectNotFound."""

    async def check(self) -> None:
        """Raises CatalogueError when objects can't be written now."""

    async def free_bytes(self) -> int | None:
        """Room that is left, or None where there is no bound."""


def checked_key(key: str) -> str:
    """The key itself. Raises ValueError when it could leave the store."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not an object key: {key!r}")
    return key


async def chunks_of(path: Path) -> AsyncIterator[bytes]:
    """A local file as `put` takes it."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, WRITE_BYTES):
            yield chunk


async def blocks_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in blocks worth a hop to a thread."""
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        if len(pending) >= WRITE_BYTES:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)


def write_block(file: Any, block: bytes, digest: Any) -> None:
    """All of a block, whatever part of it a call takes."""
    digest.update(block)
    view = memoryview(block)
    while view:
        view = view[file.write(view) or len(view) :]


def away() -> CatalogueError:
    return CatalogueError("unavailable", "The object store is away.", retry_after=5)


@contextmanager
def translated(key: str) -> Iterator[None]:
    """Gives errors of the operating system their meaning. Raises ObjectNotFound or CatalogueError."""
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectNotFound(key) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise CatalogueError("storage_full", retry_after=60) from error
        raise away() from error

"""The object store: videos and results as immutable objects under string keys.

Two kinds stand under one protocol and one conformance suite: a folder of this machine, durable by fsync, and whatever
obstore speaks (S3, GCS, Azure). An object is whole or absent, never half-visible; keys are never written twice.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import from_url

from db.errors import FotogramaError

WRITE_BYTES = 1 << 20
READ_BYTES = 1 << 18
_STAGING = ".staging"
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class ObjectMissing(KeyError):
    """No object stands under this key."""


@dataclass(frozen=True, slots=True)
class Stored:
    """size: bytes. sha256: lower-case hex of the content."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Dated:
    """An object's key, and when it was written: seconds of the epoch, by the store's clock."""

    key: str
    written: float


class ObjectStore(Protocol):
    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> Stored:
        """Writes an object; durable on return. On any error nothing is visible under the key."""

    async def put_file(self, key: str, path: Path) -> Stored:
        """As `put`, from a local file, which stays where it is."""

    def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` on, `length` of them or to the end. Raises ObjectMissing."""

    async def size(self, key: str) -> int:
        """Bytes. Raises ObjectMissing."""

    async def delete(self, key: str) -> None:
        """Removes an object; a missing one is no error."""

    async def keys(self, prefix: str) -> list[str]:
        """Keys below `prefix`, sorted."""

    async def page(self, prefix: str, after: str | None, limit: int) -> list[Dated]:
        """At most `limit` objects below `prefix`, in the store's own order, from the key after `after` on."""

    async def discard_unfinished(self, seconds: float) -> int:
        """Removes what writers that died left half-written at least `seconds` ago; how many."""

    async def fetch(self, key: str, into: Path) -> Path:
        """A local file to read the object from: its own, or a copy at `into`. Raises ObjectMissing."""

    async def check(self) -> None:
        """Raises FotogramaError when objects can't be written now."""

    async def free_bytes(self) -> int | None:
        """Room that is left, or None where there is no bound."""


def open_store(url: str) -> ObjectStore:
    """`file:///folder` for a folder of this machine, else any URL that obstore takes (s3://bucket/prefix …)."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FolderStore(Path(unquote(parts.path)))
    return CloudStore(from_url(url))


async def chunks_of(path: Path) -> AsyncIterator[bytes]:
    """A local file as `put` takes it."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, WRITE_BYTES):
            yield chunk


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in blocks worth a hop to a thread."""
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        if len(pending) >= WRITE_BYTES:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"not an object key: {key!r}")
    return key


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing(key) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise FotogramaError("storage_full", retry_after=60) from error
        raise FotogramaError("unavailable", "The object store is away.", retry_after=5) from error
    except obstore.exceptions.BaseError as error:
        raise FotogramaError("unavailable", "The object store is away.", retry_after=5) from error


class FolderStore:
    """Objects as files: temporary file, fsync, rename, fsync of the folder (the order that survives power loss)."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> Stored:
        target = self._root / _checked(key)
        digest, size = hashlib.sha256(), 0
        with _translated(key):
            staged = await asyncio.to_thread(self._stage)
            try:
                with staged.open("wb", buffering=0) as file:
                    async for block in _blocks(chunks):
                        await asyncio.to_thread(_write, file, block, digest)
                        size += len(block)
                    await asyncio.to_thread(os.fsync, file.fileno())
                await asyncio.to_thread(self._install, staged, target)
            finally:
                staged.unlink(missing_ok=True)
        return Stored(size, digest.hexdigest())

    async def put_file(self, key: str, path: Path) -> Stored:
        return await self.put(key, chunks_of(path))

    async def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        with _translated(key), await asyncio.to_thread((self._root / _checked(key)).open, "rb") as file:
            file.seek(start)
            left = length
            while left is None or left > 0:
                wanted = READ_BYTES if left is None else min(READ_BYTES, left)
                chunk = await asyncio.to_thread(file.read, wanted)
                if not chunk:
                    return
                left = None if left is None else left - len(chunk)
                yield chunk

    async def size(self, key: str) -> int:
        with _translated(key):
            return (await asyncio.to_thread((self._root / _checked(key)).stat)).st_size

    async def delete(self, key: str) -> None:
        with suppress(ObjectMissing), _translated(key):
            await asyncio.to_thread(self._remove, self._root / _checked(key))

    async def keys(self, prefix: str) -> list[str]:
        return await asyncio.to_thread(self._list, _checked(prefix.rstrip("/")))

    async def page(self, prefix: str, after: str | None, limit: int) -> list[Dated]:
        return await asyncio.to_thread(self._page, _checked(prefix.rstrip("/")), after, limit)

    async def discard_unfinished(self, seconds: float) -> int:
        with _translated(_STAGING):
            return await asyncio.to_thread(self._discard, time.time() - seconds)

    async def fetch(self, key: str, into: Path) -> Path:
        await self.size(key)
        return self._root / key

    async def check(self) -> None:
        with _translated("check"):
            await asyncio.to_thread(lambda: self._stage().unlink())

    async def free_bytes(self) -> int | None:
        with _translated("free"):
            return await asyncio.to_thread(self._free)

    def _free(self) -> int:
        self._root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self._root).free

    def _stage(self) -> Path:
        folder = self._root / _STAGING
        folder.mkdir(parents=True, exist_ok=True)
        staged = folder / uuid.uuid4().hex
        staged.touch(mode=0o640)
        return staged

    def _install(self, staged: Path, target: Path) -> None:
        while True:
            try:
                made = self._make_parents(target)
                staged.rename(target)
                break
            except (FileNotFoundError, FileExistsError):
                # A delete of a neighbour took the empty folder away between two calls.
                if not staged.exists() or target.parent.is_file():
                    raise
        for folder in {target.parent, *made}:
            _sync_folder(folder)

    def _make_parents(self, target: Path) -> list[Path]:
        missing = [folder for folder in target.parents if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        return [folder.parent for folder in missing]

    def _remove(self, path: Path) -> None:
        path.unlink()
        for folder in path.parents:
            if folder == self._root:
                return
            try:
                folder.rmdir()
            except OSError:
                return

    def _page(self, prefix: str, after: str | None, limit: int) -> list[Dated]:
        found = _walk(self._root / prefix, after.removeprefix(f"{prefix}/").split("/") if after else [])
        return [Dated(path.relative_to(self._root).as_posix(), written) for path, written in islice(found, limit)]

    def _discard(self, before: float) -> int:
        staging = self._root / _STAGING
        staged = [path for path in staging.iterdir() if path.stat().st_mtime < before] if staging.exists() else []
        for path in staged:
            path.unlink(missing_ok=True)
        return len(staged)

    def _list(self, prefix: str) -> list[str]:
        found = (Path(folder) / name for folder, _, names in os.walk(self._root / prefix) for name in names)
        return sorted(path.relative_to(self._root).as_posix() for path in found)


class CloudStore:
    """Objects in S3, GCS or Azure through obstore, by its blocking calls in threads.

    Its async calls leave threads behind that abort a process which exits at once.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> Stored:
        digest, size = hashlib.sha256(), 0
        with _translated(key):
            writer = await asyncio.to_thread(obstore.open_writer, self._store, _checked(key))
            async for block in _blocks(chunks):
                await asyncio.to_thread(_write, writer, block, digest)
                size += len(block)
            # Only closing makes the object visible; a writer that is dropped leaves none.
            await asyncio.to_thread(writer.close)
        return Stored(size, digest.hexdigest())

    async def put_file(self, key: str, path: Path) -> Stored:
        return await self.put(key, chunks_of(path))

    async def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        end = await self.size(key)
        if length is not None:
            end = min(end, start + length)
        with _translated(key):
            for first in range(start, end, 8 * WRITE_BYTES):
                last = min(end, first + 8 * WRITE_BYTES)
                block = await asyncio.to_thread(obstore.get_range, self._store, key, start=first, end=last)
                yield bytes(block)

    async def size(self, key: str) -> int:
        with _translated(key):
            return int((await asyncio.to_thread(obstore.head, self._store, _checked(key)))["size"])

    async def delete(self, key: str) -> None:
        with suppress(ObjectMissing), _translated(key):
            await asyncio.to_thread(obstore.delete, self._store, _checked(key))

    async def keys(self, prefix: str) -> list[str]:
        with _translated(prefix):
            pages = await asyncio.to_thread(list, obstore.list(self._store, _checked(prefix.rstrip("/")) + "/"))
        return sorted(entry["path"] for page in pages for entry in page)

    async def page(self, prefix: str, after: str | None, limit: int) -> list[Dated]:
        with _translated(prefix):
            return await asyncio.to_thread(self._page, _checked(prefix.rstrip("/")) + "/", after, limit)

    async def discard_unfinished(self, seconds: float) -> int:
        # Parts of uploads that broke off are the bucket's own to expire, by its rule of life cycle.
        return 0

    async def fetch(self, key: str, into: Path) -> Path:
        with _translated(key), await asyncio.to_thread(into.open, "wb") as file:
            async for block in self.read(key):
                await asyncio.to_thread(file.write, block)
        return into

    async def check(self) -> None:
        key = f"checks/{uuid.uuid4().hex}"
        with _translated(key):
            await asyncio.to_thread(obstore.put, self._store, key, b"")
            await asyncio.to_thread(obstore.delete, self._store, key)

    async def free_bytes(self) -> int | None:
        return None

    def _page(self, prefix: str, after: str | None, limit: int) -> list[Dated]:
        pages = obstore.list(self._store, prefix, offset=after, chunk_size=limit)
        page = sorted(next(iter(pages), []), key=lambda entry: str(entry["path"]))
        return [Dated(entry["path"], entry["last_modified"].timestamp()) for entry in page]


def _walk(folder: Path, after: Sequence[str]) -> Iterator[tuple[Path, float]]:
    """The files below a folder in the order of their paths' parts, from the one after `after` on, with their times.

    What vanishes meanwhile is passed over.
    """
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    first = after[0] if after else ""
    for name in names:
        path = folder / name
        if name < first or (name == first and len(after) == 1):
            continue
        if path.is_dir():
            yield from _walk(path, after[1:] if name == first else ())
        else:
            with suppress(FileNotFoundError):
                yield path, path.stat().st_mtime


def _write(file: Any, block: bytes, digest: Any) -> None:
    digest.update(block)
    view = memoryview(block)
    while view:
        view = view[file.write(view) or len(view) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Objects as files in a folder of this machine."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from db.object_store.object_store import (
    ListedObject,
    ObjectNotFound,
    StoredObject,
    checked_key,
    chunks_of,
    translated,
)
from db.object_store.overlapped_writer import batch_bytes, write_stream

READ_BYTES = 1 << 18
UNCACHED_BYTES = 8 << 20
"""An object of this size leaves the page cache when it is on the disk. So a long upload writes to the same pages of
memory again and again, and evicts nothing else. Unused pages, which a virtual machine has to get from its host, took
0.6 to 2.5 s of system time for a gigabyte, these 0.4 s.
"""
PROBE_BYTES = 1 << 16
_STAGING = ".staging"


class FolderStore:
    """Objects as files: temporary file, fsync, rename, fsync of the folder (the order that survives power loss)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._streams = 0

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
        target = self._root / checked_key(key)
        digest = hashlib.sha256()
        with translated(key):
            staged = await asyncio.to_thread(self._stage)
            try:
                with staged.open("wb", buffering=0) as file:
                    size = await self._write(file, chunks, digest)
                    await asyncio.to_thread(_sync, file, size)
                await asyncio.to_thread(self._install, staged, target)
            finally:
                staged.unlink(missing_ok=True)
        return StoredObject(size, digest.hexdigest())

    async def put_file(self, key: str, path: Path) -> StoredObject:
        return await self.put(key, chunks_of(path))

    async def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        with translated(key), await asyncio.to_thread((self._root / checked_key(key)).open, "rb") as file:
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
        with translated(key):
            return (await asyncio.to_thread((self._root / checked_key(key)).stat)).st_size

    async def delete(self, key: str) -> None:
        with suppress(ObjectNotFound), translated(key):
            await asyncio.to_thread(self._remove, self._root / checked_key(key))

    async def keys(self, prefix: str) -> list[str]:
        return await asyncio.to_thread(self._list, checked_key(prefix.rstrip("/")))

    async def page(self, prefix: str, after: str | None, limit: int) -> list[ListedObject]:
        return await asyncio.to_thread(self._page, checked_key(prefix.rstrip("/")), after, limit)

    async def discard_unfinished(self, seconds: float) -> int:
        with translated(_STAGING):
            return await asyncio.to_thread(self._discard, time.time() - seconds)

    async def fetch(self, key: str, into: Path) -> Path:
        await self.size(key)
        return self._root / key

    def local_path(self, key: str) -> Path:
        return self._root / checked_key(key)

    async def signed_url(self, key: str, seconds: float) -> str | None:
        return None

    async def check(self) -> None:
        with translated("check"):
            await asyncio.to_thread(self._probe)

    async def free_bytes(self) -> int | None:
        with translated("free"):
            return await asyncio.to_thread(self._free)

    async def _write(self, file: Any, chunks: AsyncIterator[bytes], digest: Any) -> int:
        """Returns the number of bytes."""
        self._streams += 1
        try:
            return await write_stream(file, chunks, digest, lambda: batch_bytes(self._streams))
        finally:
            self._streams -= 1

    def _free(self) -> int:
        self._root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self._root).free

    def _probe(self) -> None:
        # A full disk may still take an empty file, so the probe writes some bytes.
        staged = self._stage()
        try:
            with staged.open("wb") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            staged.unlink()

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
                # A concurrent delete removed the folder while it was empty.
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

    def _page(self, prefix: str, after: str | None, limit: int) -> list[ListedObject]:
        found = _walk(self._root / prefix, after.removeprefix(f"{prefix}/").split("/") if after else [])
        return [
            ListedObject(path.relative_to(self._root).as_posix(), written) for path, written in islice(found, limit)
        ]

    def _discard(self, before: float) -> int:
        staging = self._root / _STAGING
        staged = [path for path in staging.iterdir() if path.stat().st_mtime < before] if staging.exists() else []
        for path in staged:
            path.unlink(missing_ok=True)
        return len(staged)

    def _list(self, prefix: str) -> list[str]:
        found = (Path(folder) / name for folder, _, names in os.walk(self._root / prefix) for name in names)
        return sorted(path.relative_to(self._root).as_posix() for path in found)


def _walk(folder: Path, after: Sequence[str]) -> Iterator[tuple[Path, float]]:
    """Yields the files below a folder, ordered by the parts of their paths, after the path `after`, with their times.

    Skips files that vanish meanwhile.
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


def _sync(file: Any, size: int) -> None:
    os.fsync(file.fileno())
    if size >= UNCACHED_BYTES:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

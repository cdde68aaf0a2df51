"""A real object store whose calls fail, take long, or change a bit."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path

from db.object_store.folder_store import FolderStore
from db.object_store.object_store import StoredObject
from db.values.error_catalogue import CatalogueError


class Fault(StrEnum):
    NONE = "none"
    AWAY = "away"
    FAILING = "failing"  # one call in three
    SLOW = "slow"
    FLIPPING = "flipping"  # one bit of one object in three, on its way in or out


class FaultyStore(FolderStore):
    """fault: its present fault. flips: objects stored or fetched with a changed bit. refusals: calls that failed."""

    def __init__(self, root: Path, *, seed: int) -> None:
        super().__init__(root)
        self.fault = Fault.NONE
        self.flips = 0
        self.refusals = 0
        self._random = random.Random(seed)

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
        await self._apply_fault()
        return await super().put(key, self._with_flipped_bit(chunks) if self._is_flipping() else chunks)

    async def fetch(self, key: str, into: Path) -> Path:
        await self._apply_fault()
        path = await super().fetch(key, into)
        if not self._is_flipping():
            return path
        self.flips += 1
        shutil.copyfile(path, into)
        content = bytearray(into.read_bytes())
        content[self._random.randrange(len(content))] ^= 1 << self._random.randrange(8)
        into.write_bytes(content)
        return into

    def local_path(self, key: str) -> Path | None:  # type: ignore[override]  # it hides its files
        # Without a local path, every video is read with `fetch`.
        return None

    async def size(self, key: str) -> int:
        await self._apply_fault()
        return await super().size(key)

    async def delete(self, key: str) -> None:
        await self._apply_fault()
        await super().delete(key)

    async def check(self) -> None:
        await self._apply_fault()
        await super().check()

    async def _apply_fault(self) -> None:
        if self.fault is Fault.AWAY or (self.fault is Fault.FAILING and self._random.random() < 1 / 3):
            self.refusals += 1
            raise CatalogueError("unavailable", "The object store is away.", retry_after=5)
        if self.fault is Fault.SLOW:
            await asyncio.sleep(0.2)

    def _is_flipping(self) -> bool:
        return self.fault is Fault.FLIPPING and self._random.random() < 1 / 3

    async def _with_flipped_bit(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self.flips += 1
        is_first = True
        async for chunk in chunks:
            flipped = bytearray(chunk)
            if is_first:
                flipped[self._random.randrange(len(flipped))] ^= 1 << self._random.randrange(8)
                is_first = False
            yield bytes(flipped)

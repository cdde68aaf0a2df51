"""Finds images in their archive: offsets, sizes and WebDataset shards, read from the CSV manifest and cached."""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from db.object_store.object_store import ObjectStore
from db.values.error_catalogue import CatalogueError
from db.values.manifest import CSV_HEAD, row_of
from serve_app.webdataset_shards import Shard, ShardPlanner, lines_of

MAX_CACHED_FRAMES = 2_000_000
"""Over all archives; 16 bytes for each frame."""
_MEDIA_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """offset, size: bytes in the archive."""

    offset: int
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class _ArchiveIndex:
    offsets: array[int]
    sizes: array[int]
    media_type: str
    shards: Sequence[Shard]


class ArchiveIndexCache:
    """Caches the indexes of the archives that were used last: `max_frames` in all, but at least one archive."""

    def __init__(self, max_frames: int = MAX_CACHED_FRAMES) -> None:
        self._max_frames = max_frames
        self._indexes: OrderedDict[str, _ArchiveIndex] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def locate(self, objects: ObjectStore, manifest_key: str, n: int) -> ImageLocation:
        """The location of image n, from 1. Raises CatalogueError `not_found`, and as the object store does."""
        index = await self._index(objects, manifest_key)
        if not 1 <= n <= len(index.offsets):
            raise CatalogueError("not_found")
        return ImageLocation(index.offsets[n - 1], index.sizes[n - 1], index.media_type)

    async def shards(self, objects: ObjectStore, manifest_key: str) -> Sequence[Shard]:
        """The shards of the archive. Raises as the object store does."""
        return (await self._index(objects, manifest_key)).shards

    async def _index(self, objects: ObjectStore, manifest_key: str) -> _ArchiveIndex:
        # The images of a gallery are asked for all at once: the first request reads the manifest for all of them.
        async with self._locks.setdefault(manifest_key, asyncio.Lock()):
            index = self._indexes.get(manifest_key)
            if index is None:
                index = self._indexes[manifest_key] = await _read_index(objects, manifest_key)
                self._evict()
            self._indexes.move_to_end(manifest_key)
            return index

    def _evict(self) -> None:
        while len(self._indexes) > 1 and sum(len(index.offsets) for index in self._indexes.values()) > self._max_frames:
            self._indexes.popitem(last=False)


async def _read_index(objects: ObjectStore, key: str) -> _ArchiveIndex:
    """Raises ValueError when the object is no manifest."""
    offsets, sizes, suffix = array("Q"), array("Q"), ""
    planner, start = ShardPlanner(), 0
    async for end, line in lines_of(objects.read(key)):
        if start:
            row = row_of(line)
            offsets.append(row.offset)
            sizes.append(row.bytes)
            suffix = suffix or row.name.rpartition(".")[2]
            planner.add(row, start, end)
        elif line != CSV_HEAD:
            raise ValueError(f"{key} has other columns than a manifest")
        start = end
    return _ArchiveIndex(offsets, sizes, _MEDIA_TYPES.get(suffix, "application/octet-stream"), planner.finish())

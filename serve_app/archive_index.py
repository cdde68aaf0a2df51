"""Finds an image in its archive: offsets and sizes, read from the CSV manifest and cached."""

from __future__ import annotations

import csv
from array import array
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from db.object_store.object_store import ObjectStore
from db.values.error_catalogue import CatalogueError

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


class ArchiveIndexCache:
    """Caches the indexes of the archives that were used last: `max_frames` in all, but at least one archive."""

    def __init__(self, max_frames: int = MAX_CACHED_FRAMES) -> None:
        self._max_frames = max_frames
        self._indexes: OrderedDict[str, _ArchiveIndex] = OrderedDict()

    async def locate(self, objects: ObjectStore, manifest_key: str, n: int) -> ImageLocation:
        """The location of image n, from 1. Raises CatalogueError `not_found`, and as the object store does."""
        index = self._indexes.get(manifest_key)
        if index is None:
            index = self._indexes[manifest_key] = await _read_index(objects, manifest_key)
            self._evict()
        self._indexes.move_to_end(manifest_key)
        if not 1 <= n <= len(index.offsets):
            raise CatalogueError("not_found")
        return ImageLocation(index.offsets[n - 1], index.sizes[n - 1], index.media_type)

    def _evict(self) -> None:
        while len(self._indexes) > 1 and sum(len(index.offsets) for index in self._indexes.values()) > self._max_frames:
            self._indexes.popitem(last=False)


async def _read_index(objects: ObjectStore, key: str) -> _ArchiveIndex:
    offsets, sizes, suffix = array("Q"), array("Q"), ""
    header: list[str] = []
    async for line in _lines(objects.read(key)):
        row = next(csv.reader([line]))
        if not header:
            header = row
            continue
        fields = dict(zip(header, row, strict=True))
        offsets.append(int(fields["offset"]))
        sizes.append(int(fields["bytes"]))
        suffix = suffix or fields["name"].rpartition(".")[2]
    return _ArchiveIndex(offsets, sizes, _MEDIA_TYPES.get(suffix, "application/octet-stream"))


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Lines without their line ends. No field of a manifest contains a line break."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode().rstrip("\r")
    if rest.strip():
        yield rest.decode().rstrip("\r")

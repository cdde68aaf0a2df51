"""Where an image lies in its archive: read out of the CSV manifest, line by line, and remembered."""

from __future__ import annotations

import csv
from array import array
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from db.object_store.object_store import ObjectStore
from db.values.error_catalogue import CatalogueError

MAX_CACHED_FRAMES = 2_000_000
"""Over all archives: 16 bytes each."""
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
    """Remembers the tables of the archives that were asked for last, `most_frames` in all (at least one table)."""

    def __init__(self, max_frames: int = MAX_CACHED_FRAMES) -> None:
        self._most = max_frames
        self._tables: OrderedDict[str, _ArchiveIndex] = OrderedDict()

    async def place_of(self, objects: ObjectStore, manifest_key: str, n: int) -> ImageLocation:
        """The place of image n, from 1. Raises CatalogueError `not_found`, and as the store does."""
        table = self._tables.get(manifest_key)
        if table is None:
            table = self._tables[manifest_key] = await _read_index(objects, manifest_key)
            self._forget()
        self._tables.move_to_end(manifest_key)
        if not 1 <= n <= len(table.offsets):
            raise CatalogueError("not_found")
        return ImageLocation(table.offsets[n - 1], table.sizes[n - 1], table.media_type)

    def _forget(self) -> None:
        while len(self._tables) > 1 and sum(len(table.offsets) for table in self._tables.values()) > self._most:
            self._tables.popitem(last=False)


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
    """Lines without their ends; no field of a manifest has a line break."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode().rstrip("\r")
    if rest.strip():
        yield rest.decode().rstrip("\r")

"""The images of an archive as WebDataset shards: tar files in which each image is followed by its row of the manifest.

A shard's layout follows from the manifest alone. So its size is known before anything is read, any range of it can be
sent, and the images go from the archive to the client in one pass.
"""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass

from db.object_store.object_store import ObjectStore
from db.values.manifest import ManifestRow, row_of

MAX_SHARD_BYTES = 256 << 20
"""Of a shard; one image that is larger is a shard of its own."""
MAX_SHARD_IMAGES = 10_000
LAYOUT = f"{MAX_SHARD_BYTES}-{MAX_SHARD_IMAGES}"
"""What a shard depends on beside its archive and its number."""
MAX_LINE_BYTES = 4096
"""Of a manifest. A decoder wrote it that had read a hostile file: without a limit, one line could fill the memory."""
END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class Shard:
    """rows_start, rows_size: where its rows are in manifest.csv, bytes. images_end: where its last image ends in the
    archive, bytes. size: of the tar, bytes."""

    rows_start: int
    rows_size: int
    images_end: int
    size: int


class ShardPlanner:
    """Divides the rows of a manifest among shards. The rows come in their order."""

    def __init__(self, max_bytes: int = MAX_SHARD_BYTES, max_images: int = MAX_SHARD_IMAGES) -> None:
        self._max_bytes, self._max_images = max_bytes, max_images
        self._shards: list[Shard] = []
        self._images, self._rows_start, self._rows_end, self._images_end = 0, 0, 0, 0
        self._size = len(END)

    def add(self, row: ManifestRow, start: int, end: int) -> None:
        """start, end: where the row's line is in manifest.csv, bytes."""
        size = _sample_size(row)
        if self._images and (self._size + size > self._max_bytes or self._images == self._max_images):
            self._close_shard()
        if not self._images:
            self._rows_start = start
        self._images, self._size = self._images + 1, self._size + size
        self._rows_end, self._images_end = end, row.offset + row.bytes

    def finish(self) -> list[Shard]:
        if self._images:
            self._close_shard()
        return self._shards

    def _close_shard(self) -> None:
        rows_size = self._rows_end - self._rows_start
        self._shards.append(Shard(self._rows_start, rows_size, self._images_end, self._size))
        self._images, self._size = 0, len(END)


async def read_shard(
    objects: ObjectStore, result_key: str, shard: Shard, start: int, length: int
) -> AsyncIterator[bytes]:
    """Yields `length` bytes of the tar from `start` on. In memory are one block of the archive and one of the rows.

    result_key: prefix of the result's objects. Raises as the object store does; ValueError when the archive is not that
    of the manifest.
    """
    images = _Images(objects, f"{result_key}/frames.zip", shard.images_end)
    rows, position, stop = f"{result_key}/manifest.csv", 0, start + length
    async for _, line in lines_of(objects.read(rows, shard.rows_start, shard.rows_size)):
        if position >= stop:
            return
        row = row_of(line)
        if position + (size := _sample_size(row)) <= start:
            position += size
            continue
        for part in _sample(row):
            first, last = max(0, start - position), min(part.size, stop - position)
            position += part.size
            if first >= last:
                continue
            if isinstance(part, _Image):
                async for block in images.read(part.offset + first, last - first):
                    yield block
            else:
                yield part.data[first:last]
    if position < stop:
        yield END[max(0, start - position) : stop - position]


@dataclass(frozen=True, slots=True)
class _Image:
    """offset, size: bytes in the archive."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class _Bytes:
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


def _sample(row: ManifestRow) -> tuple[_Bytes | _Image, ...]:
    """The parts of the tar for one image."""
    key, suffix, description = sample_key(row), row.name.rpartition(".")[2], row.json().encode()
    return (
        _Bytes(tar_header(f"{key}.{suffix}", row.bytes)),
        _Image(row.offset, row.bytes),
        _Bytes(bytes(_padding(row.bytes))),
        _Bytes(tar_header(f"{key}.json", len(description)) + description + bytes(_padding(len(description)))),
    )


def sample_key(row: ManifestRow) -> str:
    """The image's name in a shard, without its suffix. WebDataset takes what follows the first dot for the type, so an
    image whose name has its time, with a second dot, is named by its number alone."""
    stem = row.name.rpartition(".")[0]
    return f"frame_{row.n:06d}" if "." in stem else stem


def tar_header(name: str, size: int) -> bytes:
    """The header of an entry (POSIX ustar). It has no time and no owner: a shard has always the same bytes."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def _sample_size(row: ManifestRow) -> int:
    """Bytes of the tar for one image."""
    return sum(tarfile.BLOCKSIZE + content + _padding(content) for content in (row.bytes, len(row.json())))


def _padding(size: int) -> int:
    """Bytes after content of this size: entries start at whole blocks."""
    return -size % tarfile.BLOCKSIZE


class _Images:
    """Reads images of an archive in their order, in one pass from the first one that is read to `end`."""

    def __init__(self, objects: ObjectStore, key: str, end: int) -> None:
        self._objects, self._key, self._end = objects, key, end
        self._chunks: AsyncIterator[bytes] | None = None
        self._rest, self._position = memoryview(b""), 0

    async def read(self, start: int, length: int) -> AsyncIterator[bytes]:
        if self._chunks is None:
            self._chunks, self._position = self._objects.read(self._key, start, self._end - start), start
        if start < self._position:
            raise ValueError(f"the images of {self._key} are not in the order of the manifest")
        while length:
            if not self._rest:
                self._rest = memoryview(await anext(self._chunks, b""))
            if not self._rest:
                raise ValueError(f"{self._key} ends before {start + length}")
            skipped = min(start - self._position, len(self._rest))
            part = self._rest[skipped : skipped + length]
            self._rest = self._rest[skipped + len(part) :]
            self._position += skipped + len(part)
            start, length = max(start, self._position), length - len(part)
            if part:
                yield bytes(part)


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, str]]:
    """Lines of a manifest without their line ends, and where each ends in bytes. No field contains a line break.

    Raises ValueError for a line that no manifest has.
    """
    rest, end = b"", 0
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            end += len(line) + 1
            yield end, line.decode().rstrip("\r")
        if len(rest) > MAX_LINE_BYTES:
            raise ValueError("a manifest has no line of this length")
    if rest.strip():
        yield end + len(rest), rest.decode().rstrip("\r")

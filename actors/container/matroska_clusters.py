"""What FFmpeg does not tell of a Matroska file: whether its checksums hold, and times before zero.

RFC 8794 (EBML) and RFC 9559 (Matroska).
"""

from __future__ import annotations

import os
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SEGMENT, _CLUSTER, _TIMESTAMP, _CRC_32 = 0x18538067, 0x1F43B675, 0xE7, 0xBF
_CHUNK_BYTES = 1 << 20
_MAX_ELEMENTS = 1_000_000
_TO_THE_END = 2**63


@dataclass(frozen=True, slots=True)
class Cluster:
    """start, end: the bytes of its content. time: ticks. is_whole: False when it has a checksum that differs."""

    start: int
    end: int
    time: int
    is_whole: bool


class Clusters:
    """All of a file's clusters, as far as they can be followed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._clusters = list(_clusters(file))
        self._starts = [cluster.start for cluster in self._clusters]

    @property
    def broken(self) -> int:
        """How many have a wrong checksum."""
        return sum(not cluster.is_whole for cluster in self._clusters)

    def is_broken_at(self, place: int | None) -> bool:
        cluster = self._at(place)
        return cluster is not None and not cluster.is_whole

    def time_at(self, place: int | None) -> int | None:
        """The time, in ticks, of the block whose content begins at this byte."""
        cluster = self._at(place)
        if cluster is None or place is None:
            return None
        with self._path.open("rb") as file:
            file.seek(place)
            _number(file)
            return cluster.time + int.from_bytes(file.read(2), "big", signed=True)

    def _at(self, place: int | None) -> Cluster | None:
        at = bisect_right(self._starts, -1 if place is None else place) - 1
        return self._clusters[at] if at >= 0 and place is not None and place < self._clusters[at].end else None


def _clusters(file: BinaryIO) -> Iterator[Cluster]:
    end = os.fstat(file.fileno()).st_size
    for identifier, size in _elements(file, end):
        if identifier == _SEGMENT:
            break
        file.seek(size or 0, os.SEEK_CUR)
    for identifier, size in _elements(file, end):
        start = file.tell()
        stop = _TO_THE_END if size is None else start + size
        if identifier == _CLUSTER:
            yield _cluster(file, start, stop)
        if stop > end:
            return
        file.seek(stop)


def _cluster(file: BinaryIO, start: int, end: int) -> Cluster:
    """Reads no more than the first elements, unless there is a checksum."""
    time, checksum, after = 0, None, start
    for identifier, size in _elements(file, end):
        if identifier not in {_CRC_32, _TIMESTAMP} or not size or size > 8:
            break
        value = file.read(size)
        if identifier == _TIMESTAMP:
            time = int.from_bytes(value, "big")
            break
        checksum, after = int.from_bytes(value, "little"), file.tell()
    if checksum is None or end > os.fstat(file.fileno()).st_size:
        return Cluster(start, end, time, True)
    return Cluster(start, end, time, _crc_32(file, after, end) == checksum)


def _crc_32(file: BinaryIO, start: int, end: int) -> int:
    file.seek(start)
    crc = 0
    while (left := end - file.tell()) > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
        crc = zlib.crc32(chunk, crc)
    return crc


def _elements(file: BinaryIO, end: int) -> Iterator[tuple[int, int | None]]:
    """Identifier and size, None when unknown; the file stands at the content and must be taken behind it."""
    for _ in range(_MAX_ELEMENTS):
        if file.tell() >= end:
            return
        identifier, size = _number(file, keep_marker=True), _number(file)
        if identifier is None:
            return
        yield identifier, size


def _number(file: BinaryIO, *, keep_marker: bool = False) -> int | None:
    """A variable-size integer; None when there is none or all its bits are set ("unknown")."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big")
    bits = value & ((1 << 7 * length) - 1)
    if keep_marker:
        return value
    return None if bits == (1 << 7 * length) - 1 else bits

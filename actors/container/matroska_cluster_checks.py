"""What FFmpeg does not report about a Matroska file: cluster checksums that differ, and times before zero.

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
_READ_BYTES = 1 << 20
_MAX_ELEMENTS = 1_000_000
_UNKNOWN_END = 2**63


@dataclass(frozen=True, slots=True)
class Cluster:
    """start, end: the bytes of its content. timestamp: ticks. crc_matches: False when it has a CRC-32 that differs."""

    start: int
    end: int
    timestamp: int
    crc_matches: bool


class ClusterIndex:
    """All clusters of a file, as far as the chain of elements can be followed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._clusters = list(_read_clusters(file))
        self._starts = [cluster.start for cluster in self._clusters]

    @property
    def crc_mismatches(self) -> int:
        """The number of clusters whose checksum differs."""
        return sum(not cluster.crc_matches for cluster in self._clusters)

    def has_crc_mismatch_at(self, position: int | None) -> bool:
        """Whether the cluster around this byte has a checksum that differs."""
        cluster = self._cluster_at(position)
        return cluster is not None and not cluster.crc_matches

    def block_time(self, position: int | None) -> int | None:
        """The time, in ticks, of the block whose content starts at this byte."""
        cluster = self._cluster_at(position)
        if cluster is None or position is None:
            return None
        with self._path.open("rb") as file:
            file.seek(position)
            _read_vint(file)
            return cluster.timestamp + int.from_bytes(file.read(2), "big", signed=True)

    def _cluster_at(self, position: int | None) -> Cluster | None:
        number = bisect_right(self._starts, -1 if position is None else position) - 1
        has_cluster = number >= 0 and position is not None and position < self._clusters[number].end
        return self._clusters[number] if has_cluster else None


def _read_clusters(file: BinaryIO) -> Iterator[Cluster]:
    file_end = os.fstat(file.fileno()).st_size
    for identifier, size in _elements(file, file_end):
        if identifier == _SEGMENT:
            break
        file.seek(size or 0, os.SEEK_CUR)
    for identifier, size in _elements(file, file_end):
        start = file.tell()
        stop = _UNKNOWN_END if size is None else start + size
        if identifier == _CLUSTER:
            yield _read_cluster(file, start, stop)
        if stop > file_end:
            return
        file.seek(stop)


def _read_cluster(file: BinaryIO, start: int, end: int) -> Cluster:
    """Reads the first elements only, unless there is a checksum to verify."""
    timestamp, checksum, checked_start = 0, None, start
    for identifier, size in _elements(file, end):
        if identifier not in {_CRC_32, _TIMESTAMP} or not size or size > 8:
            break
        value = file.read(size)
        if identifier == _TIMESTAMP:
            timestamp = int.from_bytes(value, "big")
            break
        checksum, checked_start = int.from_bytes(value, "little"), file.tell()
    if checksum is None or end > os.fstat(file.fileno()).st_size:
        return Cluster(start, end, timestamp, True)
    return Cluster(start, end, timestamp, _crc_32(file, checked_start, end) == checksum)


def _crc_32(file: BinaryIO, start: int, end: int) -> int:
    file.seek(start)
    crc = 0
    while (left := end - file.tell()) > 0 and (chunk := file.read(min(left, _READ_BYTES))):
        crc = zlib.crc32(chunk, crc)
    return crc


def _elements(file: BinaryIO, end: int) -> Iterator[tuple[int, int | None]]:
    """Identifier and size of each element, None when the size is unknown.

    The file stands at the element's content. The caller moves it behind the content before the next step.
    """
    for _ in range(_MAX_ELEMENTS):
        if file.tell() >= end:
            return
        identifier, size = _read_vint(file, keep_marker=True), _read_vint(file)
        if identifier is None:
            return
        yield identifier, size


def _read_vint(file: BinaryIO, *, keep_marker: bool = False) -> int | None:
    """An EBML variable-size integer; None when there is none or all its bits are set ("unknown")."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big")
    bits = value & ((1 << 7 * length) - 1)
    if keep_marker:
        return value
    return None if bits == (1 << 7 * length) - 1 else bits

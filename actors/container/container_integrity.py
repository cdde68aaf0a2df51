"""Whether a container's structure is consistent: each element ends where the next one starts, and counts agree.

A demuxer that meets damage searches for the next valid element and goes on without an error. These checks follow the
chain of declared lengths and so find the gap. They read the file and change nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from db.values.file_type import Container

_MAX_ELEMENTS = 20_000_000
_FLV_TAG_HEADER_BYTES = 11
_FLV_VIDEO_TAG, _FLV_AVC_CODEC = 9, 7
_PS_PACK, _PS_PROGRAM_END = 0xBA, 0xB9
_CONTAINER_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
"""MP4 boxes that hold other boxes, down to the sample tables."""
_SAMPLE_TABLES = {b"stts", b"ctts", b"stsz", b"stsc", b"stco", b"co64"}
_NO_ROWS = {width: np.zeros((0, width), np.uint64) for width in (2, 3)}
_MAX_TABLE_BYTES = 1 << 28
_CLUSTER, _SEGMENT, _EBML = 0x1F43B675, 0x18538067, 0x1A45DFA3
_TOP_ELEMENTS = {
    *(0x114D9B74, 0x1549A966, 0x1654AE6B, _CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367),
    *(0xEC, 0xBF),
}
_CLUSTER_ELEMENTS = {0xE7, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, 0x5854, 0xEC, 0xBF}


def has_consistent_structure(path: Path, container: Container) -> bool:
    """True also for formats without a check here: FFmpeg reports gaps in MPEG-TS itself, and ASF has no chain."""
    checks: dict[Container, Callable[[BinaryIO, int], bool]] = {
        Container.MP4: _mp4_sample_tables_agree,
        Container.MATROSKA: _matroska_elements_are_contiguous,
        Container.FLV: _flv_tags_are_contiguous,
        Container.AVI: _avi_chunks_are_contiguous,
        Container.MPEG_PS: _mpeg_ps_packs_are_contiguous,
    }
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return container not in checks or checks[container](file, size)


def count_avi_chunks(path: Path, stream: int) -> int:
    """The number of non-empty chunks that an AVI file holds of a video stream."""
    names = {b"%02d%b" % (stream, kind) for kind in (b"dc", b"db")}
    with path.open("rb") as file:
        return sum(name in names and size > 0 for name, size in _riff_chunks(file, os.fstat(file.fileno()).st_size))


def has_encrypted_mp4_track(path: Path) -> bool:
    """Whether an MP4 file has an encrypted sample entry (ISO/IEC 14496-12, 8.12; or Apple's `drmi`)."""
    with path.open("rb") as file:
        for name, start, _ in _mp4_boxes(file, 0, os.fstat(file.fileno()).st_size):
            if name == b"stsd":
                file.seek(start + 12)
                if file.read(4) in {b"encv", b"drmi"}:
                    return True
    return False


def _riff_chunks(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int]]:
    """Name and size of every chunk, also of the chunks inside of lists."""
    for _ in range(_MAX_ELEMENTS):
        header = file.read(8)
        if len(header) < 8 or file.tell() >= end:
            return
        name, size = header[:4], int.from_bytes(header[4:], "little")
        if name in {b"RIFF", b"LIST"}:
            file.seek(4, os.SEEK_CUR)
            continue
        yield name, size
        file.seek(size + size % 2, os.SEEK_CUR)


def _avi_chunks_are_contiguous(file: BinaryIO, size: int) -> bool:
    """AVI: each chunk starts with a name where the chunk before it ends, up to the end that the first list declares."""
    end = min(size, 8 + int.from_bytes(file.read(8)[4:], "little"))
    file.seek(0)
    return all(name.isascii() and name.decode().isprintable() for name, _ in _riff_chunks(file, end))


def _flv_tags_are_contiguous(file: BinaryIO, size: int) -> bool:
    """FLV (E.3): the length of each tag stands after it, the next tag starts there, and all video is of one codec.

    Some writers give wrong lengths in every tag. So a wrong length in the very first tag proves nothing.
    """
    head = file.read(9)
    file.seek(int.from_bytes(head[5:9], "big") + 4)
    codec = None
    for number in range(_MAX_ELEMENTS):
        header = file.read(_FLV_TAG_HEADER_BYTES)
        length = int.from_bytes(header[1:4], "big")
        if len(header) < _FLV_TAG_HEADER_BYTES or file.tell() + length + 4 > size:
            return not header
        if header[0] == _FLV_VIDEO_TAG and length > 1:
            kind = file.read(2)
            codec = codec or kind[0] & 0xF
            if kind[0] & 0xF != codec or (codec == _FLV_AVC_CODEC and kind[1] > 2):
                return False
            file.seek(-2, os.SEEK_CUR)
        file.seek(length, os.SEEK_CUR)
        if header[0] & 0x1F not in {8, 9, 18} or int.from_bytes(file.read(4), "big") != length + _FLV_TAG_HEADER_BYTES:
            return number == 0
    return True


def _mpeg_ps_packs_are_contiguous(file: BinaryIO, size: int) -> bool:
    """MPEG-1 and MPEG-2 program streams (ISO/IEC 13818-1, 2.5): packs, and packets that declare their length.

    An elementary stream has no packs and so nothing to check.
    """
    if file.read(4) != b"\x00\x00\x01\xba":
        return True
    file.seek(0)
    for _ in range(_MAX_ELEMENTS):
        header = file.read(6)
        if not header.strip(b"\x00") or header[:4] == b"\x00\x00\x01\xb9":
            return True
        if header[:3] != b"\x00\x00\x01" or header[3] < _PS_PROGRAM_END:
            return False
        if header[3] == _PS_PACK:
            file.seek(_pack_header_rest_bytes(file, header), os.SEEK_CUR)
        else:
            file.seek(int.from_bytes(header[4:6], "big"), os.SEEK_CUR)
        if file.tell() > size:
            return False
    return True


def _pack_header_rest_bytes(file: BinaryIO, header: bytes) -> int:
    """Bytes of a pack header after its sixth. The last byte of an MPEG-2 header declares the stuffing after it."""
    if header[4] & 0xC0 != 0x40:
        return 6
    rest = file.read(8)
    return (rest[7] & 7) if len(rest) == 8 else 0


def _matroska_elements_are_contiguous(file: BinaryIO, size: int) -> bool:
    """Matroska (RFC 8794): the elements of the Segment and of its Clusters fill their parents without a gap."""
    if _element_header(file)[0] != _EBML:
        return True
    file.seek(0)
    _, length = _element_header(file)
    file.seek(length or 0, os.SEEK_CUR)
    identifier, length = _element_header(file)
    end = size if length is None else min(size, file.tell() + length)
    return identifier != _SEGMENT or _child_elements_are_contiguous(file, end, _TOP_ELEMENTS)


def _child_elements_are_contiguous(file: BinaryIO, end: int, allowed: set[int]) -> bool:
    for _ in range(_MAX_ELEMENTS):
        if file.tell() >= end:
            return True
        identifier, length = _element_header(file)
        if identifier not in allowed:
            return False
        if length is None:
            return True  # a live recording: its end is declared nowhere
        stop = file.tell() + length
        if stop > end:
            return end == os.fstat(file.fileno()).st_size
        if identifier == _CLUSTER and not _child_elements_are_contiguous(file, stop, _CLUSTER_ELEMENTS):
            return False
        file.seek(stop)
    return True


def _element_header(file: BinaryIO) -> tuple[int, int | None]:
    """An EBML element's identifier and content length, None when unknown; 0 and 0 when there is no element."""
    first = file.read(1)
    if not first or not first[0]:
        return 0, 0
    identifier = int.from_bytes(first + file.read(8 - first[0].bit_length()), "big")
    first = file.read(1)
    if not first or not first[0]:
        return 0, 0
    more = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(more), "big") & ((1 << 7 * (more + 1)) - 1)
    return identifier, None if value == (1 << 7 * (more + 1)) - 1 else value


def _mp4_sample_tables_agree(file: BinaryIO, size: int) -> bool:
    """MP4 (ISO/IEC 14496-12, 8.6 and 8.7): all sample tables of a video track describe the same number of samples."""
    counts: set[int] = set()
    chunk_runs: list[tuple[int, int]] = []
    handler = None
    for name, start, end in _mp4_boxes(file, 0, size):
        if name == b"trak":
            counts, chunk_runs, handler = set(), [], None
        elif name == b"hdlr" and handler is None:
            file.seek(start + 8)
            handler = file.read(4)
        if name not in _SAMPLE_TABLES or handler != b"vide" or end - start > _MAX_TABLE_BYTES:
            continue
        file.seek(start)
        table = file.read(end - start)
        if name in {b"stts", b"ctts"}:
            counts.add(int(_table_rows(table, 2)[:, 0].sum()))
        elif name == b"stsz":
            counts.add(int.from_bytes(table[8:12], "big"))
        elif name == b"stsc":
            chunk_runs = [(int(first), int(samples)) for first, samples, _ in _table_rows(table, 3)]
        else:
            counts.add(_samples_in_chunks(chunk_runs, int.from_bytes(table[4:8], "big")))
        if len(counts - {0}) > 1:
            return False
    return True


def _table_rows(table: bytes, width: int) -> NDArray[np.uint64]:
    """The rows of a table. width: numbers of four bytes in a row."""
    rows = min(int.from_bytes(table[4:8], "big"), max(0, len(table) - 8) // (4 * width))
    return (
        np.frombuffer(table, ">u4", rows * width, 8).reshape(rows, width).astype(np.uint64) if rows else _NO_ROWS[width]
    )


def _samples_in_chunks(chunk_runs: list[tuple[int, int]], chunks: int) -> int:
    """The number of samples in all chunks. chunk_runs: first chunk of a run, counted from 1, and samples per chunk."""
    ends = [first for first, _ in chunk_runs[1:]] + [chunks + 1]
    return sum(max(0, end - first) * samples for (first, samples), end in zip(chunk_runs, ends, strict=False))


def _mp4_boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, content start and content end of every box, down to the sample tables."""
    for _ in range(_MAX_ELEMENTS):
        file.seek(start)
        header = file.read(16)
        length, header_bytes = int.from_bytes(header[:4], "big"), 8
        if length == 1:
            length, header_bytes = int.from_bytes(header[8:16], "big"), 16
        if len(header) < 8 or length < header_bytes or start + length > end:
            return
        yield header[4:8], start + header_bytes, start + length
        if header[4:8] in _CONTAINER_BOXES:
            yield from _mp4_boxes(file, start + header_bytes, start + length)
        start += length
        if start + 8 > end:
            return

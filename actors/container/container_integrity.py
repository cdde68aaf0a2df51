"""Whether the parts of a container fit together: each ends where the next begins, and counts of the same agree.

A demuxer looks for the next part that makes sense and goes on from there, in silence; whoever walks the chain of
lengths notices the gap. Pure but for reading.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from db.values.file_type import Container

_MAX_PARTS = 20_000_000
_TAG_BYTES = 11
_FLV_VIDEO, _FLV_AVC = 9, 7
_PACK, _PROGRAM_END, _MIN_STREAM = 0xBA, 0xB9, 0xBB
_BOXES_WITH_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
_TABLES = {b"stts", b"ctts", b"stsz", b"stsc", b"stco", b"co64"}
_NO_ROWS = {width: np.zeros((0, width), np.uint64) for width in (2, 3)}
_MAX_TABLE_BYTES = 1 << 28
_CLUSTER, _SEGMENT, _EBML = 0x1F43B675, 0x18538067, 0x1A45DFA3
_TOP_ELEMENTS = {
    *(0x114D9B74, 0x1549A966, 0x1654AE6B, _CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367),
    *(0xEC, 0xBF),
}
_CLUSTER_ELEMENTS = {0xE7, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, 0x5854, 0xEC, 0xBF}


def fits_together(path: Path, container: Container) -> bool:
    """True also where nothing can be said (MPEG-TS counts its packets, and FFmpeg tells; ASF)."""
    checks: dict[Container, Callable[[BinaryIO, int], bool]] = {
        Container.MP4: _tables_agree,
        Container.MATROSKA: _elements_nest,
        Container.FLV: _tags_follow,
        Container.AVI: _chunks_follow,
        Container.MPEG_PS: _packs_follow,
    }
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return container not in checks or checks[container](file, size)


def chunks(path: Path, stream: int) -> int:
    """How many chunks with something in them an AVI file holds of a stream of pictures."""
    wanted = {b"%02d%b" % (stream, kind) for kind in (b"dc", b"db")}
    with path.open("rb") as file:
        return sum(name in wanted and size > 0 for name, size in _riff(file, os.fstat(file.fileno()).st_size))


def is_encrypted(path: Path) -> bool:
    """Whether an MP4 file has a video track whose sample entry says so (ISO/IEC 14496-12, 8.12; or Apple's own)."""
    with path.open("rb") as file:
        for name, start, _ in _boxes(file, 0, os.fstat(file.fileno()).st_size):
            if name == b"stsd":
                file.seek(start + 12)
                if file.read(4) in {b"encv", b"drmi"}:
                    return True
    return False


def _riff(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int]]:
    """All chunks; lists are entered."""
    for _ in range(_MAX_PARTS):
        header = file.read(8)
        if len(header) < 8 or file.tell() >= end:
            return
        name, size = header[:4], int.from_bytes(header[4:], "little")
        if name in {b"RIFF", b"LIST"}:
            file.seek(4, os.SEEK_CUR)
            continue
        yield name, size
        file.seek(size + size % 2, os.SEEK_CUR)


def _chunks_follow(file: BinaryIO, size: int) -> bool:
    """AVI: up to the end that the first list tells, each chunk begins with a name where the one before it ends."""
    end = min(size, 8 + int.from_bytes(file.read(8)[4:], "little"))
    file.seek(0)
    return all(name.isascii() and name.decode().isprintable() for name, _ in _riff(file, end))


def _tags_follow(file: BinaryIO, size: int) -> bool:
    """FLV (E.3): each tag is followed by its length, and the next begins there; all pictures are of
    one codec. A writer that does not even tell the first length right tells none.
    """
    head = file.read(9)
    file.seek(int.from_bytes(head[5:9], "big") + 4)
    codec = None
    for number in range(_MAX_PARTS):
        header = file.read(_TAG_BYTES)
        length = int.from_bytes(header[1:4], "big")
        if len(header) < _TAG_BYTES or file.tell() + length + 4 > size:
            return not header
        if header[0] == _FLV_VIDEO and length > 1:
            kind = file.read(2)
            codec = codec or kind[0] & 0xF
            if kind[0] & 0xF != codec or (codec == _FLV_AVC and kind[1] > 2):
                return False
            file.seek(-2, os.SEEK_CUR)
        file.seek(length, os.SEEK_CUR)
        if header[0] & 0x1F not in {8, 9, 18} or int.from_bytes(file.read(4), "big") != length + _TAG_BYTES:
            return number == 0
    return True


def _packs_follow(file: BinaryIO, size: int) -> bool:
    """MPEG-1 and MPEG-2 program streams (ISO/IEC 13818-1, 2.5): packs, and packets that tell their length.

    An elementary stream without packs has nothing to walk on.
    """
    if file.read(4) != b"\x00\x00\x01\xba":
        return True
    file.seek(0)
    for _ in range(_MAX_PARTS):
        header = file.read(6)
        if not header.strip(b"\x00") or header[:4] == b"\x00\x00\x01\xb9":
            return True
        if header[:3] != b"\x00\x00\x01" or header[3] < _PROGRAM_END:
            return False
        if header[3] == _PACK:
            file.seek(_pack_rest(file, header), os.SEEK_CUR)
        else:
            file.seek(int.from_bytes(header[4:6], "big"), os.SEEK_CUR)
        if file.tell() > size:
            return False
    return True


def _pack_rest(file: BinaryIO, header: bytes) -> int:
    """Bytes of a pack header behind its sixth; in MPEG-2 the last of them tells how much stuffing follows."""
    if header[4] & 0xC0 != 0x40:
        return 6
    rest = file.read(8)
    return (rest[7] & 7) if len(rest) == 8 else 0


def _elements_nest(file: BinaryIO, size: int) -> bool:
    """Matroska (RFC 8794): what is in the segment and in its clusters follows one upon the other and ends together."""
    if _element(file)[0] != _EBML:
        return True
    file.seek(0)
    _, length = _element(file)
    file.seek(length or 0, os.SEEK_CUR)
    identifier, length = _element(file)
    end = size if length is None else min(size, file.tell() + length)
    return identifier != _SEGMENT or _children_follow(file, end, _TOP_ELEMENTS)


def _children_follow(file: BinaryIO, end: int, known: set[int]) -> bool:
    for _ in range(_MAX_PARTS):
        if file.tell() >= end:
            return True
        identifier, length = _element(file)
        if identifier not in known:
            return False
        if length is None:
            return True  # live: its end is told by nothing
        stop = file.tell() + length
        if stop > end:
            return end == os.fstat(file.fileno()).st_size
        if identifier == _CLUSTER and not _children_follow(file, stop, _CLUSTER_ELEMENTS):
            return False
        file.seek(stop)
    return True


def _element(file: BinaryIO) -> tuple[int, int | None]:
    """Identifier, and the content's length, None when unknown; 0 and 0 when there is none."""
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


def _tables_agree(file: BinaryIO, size: int) -> bool:
    """MP4 (ISO/IEC 14496-12, 8.6 and 8.7): the tables of a track of pictures tell of the same number of samples."""
    counts: set[int] = set()
    runs: list[tuple[int, int]] = []
    handler = None
    for name, start, end in _boxes(file, 0, size):
        if name == b"trak":
            counts, runs, handler = set(), [], None
        elif name == b"hdlr" and handler is None:
            file.seek(start + 8)
            handler = file.read(4)
        if name not in _TABLES or handler != b"vide" or end - start > _MAX_TABLE_BYTES:
            continue
        file.seek(start)
        table = file.read(end - start)
        if name in {b"stts", b"ctts"}:
            counts.add(int(_columns(table, 2)[:, 0].sum()))
        elif name == b"stsz":
            counts.add(int.from_bytes(table[8:12], "big"))
        elif name == b"stsc":
            runs = [(int(first), int(samples)) for first, samples, _ in _columns(table, 3)]
        else:
            counts.add(_in_chunks(runs, int.from_bytes(table[4:8], "big")))
        if len(counts - {0}) > 1:
            return False
    return True


def _columns(table: bytes, width: int) -> NDArray[np.uint64]:
    """The rows of a table whose rows have `width` numbers of four bytes."""
    rows = min(int.from_bytes(table[4:8], "big"), max(0, len(table) - 8) // (4 * width))
    return (
        np.frombuffer(table, ">u4", rows * width, 8).reshape(rows, width).astype(np.uint64) if rows else _NO_ROWS[width]
    )


def _in_chunks(runs: list[tuple[int, int]], chunks: int) -> int:
    """How many samples so many chunks hold. runs: first chunk, counted from 1, and samples in each from there on."""
    ends = [first for first, _ in runs[1:]] + [chunks + 1]
    return sum(max(0, end - first) * samples for (first, samples), end in zip(runs, ends, strict=False))


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, and where the content begins and ends, of all boxes down to the tables."""
    for _ in range(_MAX_PARTS):
        file.seek(start)
        header = file.read(16)
        length, head = int.from_bytes(header[:4], "big"), 8
        if length == 1:
            length, head = int.from_bytes(header[8:16], "big"), 16
        if len(header) < 8 or length < head or start + length > end:
            return
        yield header[4:8], start + head, start + length
        if header[4:8] in _BOXES_WITH_BOXES:
            yield from _boxes(file, start + head, start + length)
        start += length
        if start + 8 > end:
            return

"""Whether a file ends before the end that its own structure declares. Reads the file and changes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, assert_never

from db.values.file_type import Container

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_MAX_BOXES = 100_000
_TS_SYNC, _TS_PACKET, _M2TS_PACKET = b"\x47", 188, 192
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEADER_BYTES = 1 << 16
_FLV_TAGS = (8, 9, 18)


def is_truncated(path: Path, container: Container) -> bool:
    """Whether the file ends before its declared end.

    MP4 (ISO/IEC 14496-12, 4.2), Matroska (RFC 8794), AVI and ASF declare their sizes. MPEG-TS consists of packets of
    one size, and FLV ends with the length of its last tag. MPEG-PS declares nothing and never counts as truncated.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        match container:
            case Container.MP4:
                return _mp4_boxes_end(file, size) > size
            case Container.MATROSKA:
                return _matroska_segment_end(file) > size
            case Container.AVI:
                return 8 + int.from_bytes(file.read(8)[4:8], "little") > size
            case Container.MPEG_TS:
                return size % (_TS_PACKET if file.read(1) == _TS_SYNC else _M2TS_PACKET) != 0
            case Container.ASF:
                return _asf_declared_size(file) > size
            case Container.FLV:
                return not _ends_with_flv_tag(file, size)
            case Container.MPEG_PS:
                return False
            case _:
                assert_never(container)


def _mp4_boxes_end(file: BinaryIO, size: int) -> int:
    """The byte position where the top-level boxes end."""
    end = 0
    for _ in range(_MAX_BOXES):
        file.seek(end)
        header = file.read(16)
        if len(header) < 8:
            break
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8:  # 0: up to the end of the file
            break
        end += length
        if end >= size:
            break
    return end


def _matroska_segment_end(file: BinaryIO) -> int:
    """The byte position where the first Segment ends; 0 when its size is unknown, as in a live recording."""
    identifier, _ = _read_vint(file, keep_marker=True)
    length, _ = _read_vint(file)
    if identifier != _EBML:
        return 0
    file.seek(length, os.SEEK_CUR)
    identifier, _ = _read_vint(file, keep_marker=True)
    length, is_unknown = _read_vint(file)
    return 0 if identifier != _SEGMENT or is_unknown else file.tell() + length


def _read_vint(file: BinaryIO, *, keep_marker: bool = False) -> tuple[int, bool]:
    """An EBML variable-size integer, and whether all its bits are set ("unknown")."""
    first = file.read(1)
    if not first or not first[0]:
        return 0, True
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big")
    bits = value & ((1 << 7 * length) - 1)
    return (value if keep_marker else bits), bits == (1 << 7 * length) - 1


def _asf_declared_size(file: BinaryIO) -> int:
    """The file size in the File Properties object; 0 when there is no such object."""
    head = file.read(_ASF_HEADER_BYTES)
    start = head.find(_ASF_FILE_PROPERTIES)
    return 0 if start < 0 else int.from_bytes(head[start + 40 : start + 48], "little")


def _ends_with_flv_tag(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - 4))
    start = size - 4 - int.from_bytes(file.read(4), "big")
    if start < 0:
        return False
    file.seek(start)
    return file.read(1)[:1] in {bytes([tag]) for tag in _FLV_TAGS}

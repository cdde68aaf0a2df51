"""Writes a stored zip file append-only and hashes it on the way.

The format is written by hand (APPNOTE.TXT 6.3.10): `zipfile` goes back to correct its headers, and so the hash of the
file could not be computed while it is written.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_END = struct.Struct("<IHHHHIIH")
_END_64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR_64 = struct.Struct("<IIQI")
_EXTRA_64 = struct.Struct("<HHQ")
_EPOCH_DATE = (1 << 5) | 1
"""1980-01-01, the earliest date of a zip."""
_MODE = 0o100644 << 16
_UNIX, _VERSION, _VERSION_64 = 3 << 8, 20, 45
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF


class ZipWriter:
    """position: where in the file the next byte goes. sha256: of all bytes written so far."""

    def __init__(self, file: BinaryIO, position: int = 0) -> None:
        self._file, self.position = file, position
        self._hash = hashlib.sha256()
        self._directory = bytearray()
        self._entries = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def add(self, name: str, data: bytes) -> int:
        """Adds an entry. Returns the position of its data's first byte."""
        offset = self._begin(name, len(data), zlib.crc32(data))
        self._write(data)
        return offset

    def add_file(self, name: str, path: Path, chunk_bytes: int = 1 << 20) -> int:
        """Adds a file's content. Returns the position of its first byte."""
        with path.open("rb") as file:
            crc, chunks = 0, iter(lambda: file.read(chunk_bytes), b"")
            for chunk in chunks:
                crc = zlib.crc32(chunk, crc)
            offset = self._begin(name, file.tell(), crc)
            file.seek(0)
            for chunk in iter(lambda: file.read(chunk_bytes), b""):
                self._write(chunk)
        return offset

    def finish(self) -> None:
        """Writes the central directory."""
        start, size, count = self.position, len(self._directory), self._entries
        self._write(bytes(self._directory))
        if start > _MAX_32 or size > _MAX_32 or count >= _MAX_16:
            end = self.position
            self._write(
                _END_64.pack(
                    0x06064B50, _END_64.size - 12, _UNIX | _VERSION_64, _VERSION_64, 0, 0, count, count, size, start
                )
            )
            self._write(_LOCATOR_64.pack(0x07064B50, 0, end, 1))
        entries = min(count, _MAX_16)
        self._write(_END.pack(0x06054B50, 0, 0, entries, entries, min(size, _MAX_32), min(start, _MAX_32), 0))

    def _begin(self, name: str, size: int, crc: int) -> int:
        if size >= _MAX_32:
            raise ValueError("an entry of 4 GiB or more can't be stored")
        raw, start = name.encode("ascii"), self.position
        extra = _EXTRA_64.pack(1, 8, start) if start >= _MAX_32 else b""
        version = _VERSION_64 if extra else _VERSION
        common = (0, 0, 0, _EPOCH_DATE, crc, size, size, len(raw))
        self._write(_LOCAL.pack(0x04034B50, version, *common, 0) + raw)
        self._directory += _CENTRAL.pack(
            0x02014B50, _UNIX | version, version, *common, len(extra), 0, 0, 0, _MODE, min(start, _MAX_32)
        )
        self._directory += raw + extra
        self._entries += 1
        return self.position

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.position += len(data)

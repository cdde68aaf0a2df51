"""A zip archive that is created while it is sent. Its entries are stored without compression. Neither they nor the
central directory are in memory as a whole.

The sizes and CRCs of an entry follow its data (APPNOTE.TXT 4.4.4, bit 3), as `zipfile` writes them to a stream.
"""

from __future__ import annotations

import asyncio
import struct
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO

ZIP32_BYTES = (1 << 31) - 1
"""The largest entry that is written without the zip64 fields."""
SPOOL_BYTES = 1 << 20
"""A larger central directory is in a temporary file."""
BLOCK_BYTES = 1 << 18
_RECORD = struct.Struct("<HIQQB")


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One file of the archive. max_bytes: an upper bound of its size; None when it is unknown."""

    name: str
    chunks: AsyncIterator[bytes]
    max_bytes: int | None = None


class _Output:
    """Takes what `zipfile` writes, in memory or in a file. It has no `tell` and `seek`, so `zipfile` streams."""

    def __init__(self) -> None:
        self._written = bytearray()
        self.file: IO[bytes] | None = None

    def write(self, data: bytes) -> int:
        if self.file is not None:
            return self.file.write(data)
        self._written += data
        return len(data)

    def flush(self) -> None: ...

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


class _CentralDirectory(list[zipfile.ZipInfo]):
    """Replaces `ZipFile.filelist`: an entry is a short record in a file, instead of a ZipInfo of a kilobyte."""

    def __init__(self, date_time: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self._date_time, self._count = date_time, 0
        self._file = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115 - closed by `close`

    def append(self, info: zipfile.ZipInfo) -> None:
        name = info.filename.encode()
        record = _RECORD.pack(len(name), info.CRC, info.file_size, info.header_offset, info.extract_version)
        self._file.write(record + name)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[zipfile.ZipInfo]:
        if self._count:
            self._file.seek(0)
        for _ in range(self._count):
            length, crc, size, offset, version = _RECORD.unpack(self._file.read(_RECORD.size))
            info = zipfile.ZipInfo(self._file.read(length).decode(), self._date_time)
            info.CRC, info.file_size, info.compress_size, info.header_offset = crc, size, size, offset
            info.extract_version, info.flag_bits, info.external_attr = version, 0x08, 0o600 << 16
            yield info

    def close(self) -> None:
        """Removes the records. `zipfile` writes an end even after an aborted response; it has no entries then."""
        self._count = 0
        self._file.close()


class _EmptyDict(dict[str, zipfile.ZipInfo]):
    """Replaces `ZipFile.NameToInfo`, which only reading needs."""

    def __setitem__(self, name: str, info: zipfile.ZipInfo) -> None: ...


async def stream_zip(entries: AsyncIterator[ZipEntry], written_at: datetime) -> AsyncIterator[bytes]:
    """Yields the archive's bytes as those of the entries arrive. written_at: the time of all entries."""
    date_time = (*written_at.timetuple()[:6],)
    output, directory = _Output(), _CentralDirectory(date_time)
    archive = zipfile.ZipFile(output, "w", zipfile.ZIP_STORED)  # type: ignore[call-overload]  # only `write` and `flush` are needed
    archive.filelist, archive.NameToInfo = directory, _EmptyDict()
    try:
        async for entry in entries:
            is_large = entry.max_bytes is None or entry.max_bytes > ZIP32_BYTES
            with archive.open(zipfile.ZipInfo(entry.name, date_time), "w", force_zip64=is_large) as file:
                async for chunk in entry.chunks:
                    file.write(chunk)
                    yield output.take()
        yield output.take()
        async for block in _close(archive, output):
            yield block
    finally:
        directory.close()


async def _close(archive: zipfile.ZipFile, output: _Output) -> AsyncIterator[bytes]:
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as end:
        output.file = end
        await asyncio.to_thread(archive.close)
        end.seek(0)
        while block := await asyncio.to_thread(end.read, BLOCK_BYTES):
            yield block

"""A zip archive that is made while it is sent: its entries are stored, and only their directory is kept in memory.

The sizes and CRCs of an entry follow its data (APPNOTE.TXT 4.4.4, bit 3), as `zipfile` writes them to a stream.
"""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

ZIP32_BYTES = (1 << 31) - 1
"""The largest entry that is written without the fields of zip64."""


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """max_bytes: an upper bound of its size; None when there is none."""

    name: str
    chunks: AsyncIterator[bytes]
    max_bytes: int | None = None


class _Output:
    """What `zipfile` has written since the last `take`. Without `tell` and `seek`, so that it writes as to a stream."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None: ...

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


async def stream_zip(entries: AsyncIterator[ZipEntry], written_at: datetime) -> AsyncIterator[bytes]:
    """Yields the archive's bytes as those of the entries arrive. written_at: the time of all entries."""
    output = _Output()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        async for entry in entries:
            info = zipfile.ZipInfo(entry.name, written_at.timetuple()[:6])
            is_large = entry.max_bytes is None or entry.max_bytes > ZIP32_BYTES
            with archive.open(info, "w", force_zip64=is_large) as file:
                async for chunk in entry.chunks:
                    file.write(chunk)
                    yield output.take()
    yield output.take()

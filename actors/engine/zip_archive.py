"""The archive: a stored zip with its manifests, written in one go and the same for the same input. Pure but for files.

The zip is written by hand (APPNOTE.TXT 6.3.10) because `zipfile` goes back to correct its headers, and then the hash of
the file could not be taken while it is written.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import struct
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from actors.extraction_types import ResultWarning
from db.values.frame_spec import FrameSpec, canonical

MANIFEST_VERSION = 1
_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_END = struct.Struct("<IHHHHIIH")
_END_64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR_64 = struct.Struct("<IIQI")
_EXTRA_64 = struct.Struct("<HHQ")
_EPOCH_DATE = (1 << 5) | 1
"""1980-01-01, the zip's own zero."""
_MODE = 0o100644 << 16
_UNIX, _VERSION, _VERSION_64 = 3 << 8, 20, 45
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF


def half_up(value: Fraction) -> int:
    """The nearest whole number; half goes up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def decimal(seconds: Fraction, digits: int) -> str:
    """Seconds, not negative, with so many digits after the point, half up."""
    whole, rest = divmod(half_up(seconds * 10**digits), 10**digits)
    return f"{whole}.{rest:0{digits}d}"


def image_name(n: int, time: Fraction, suffix: str) -> str:
    """An image's name in the archive; n counts from 1, time is the frame's own in seconds."""
    return f"frame_{n:06d}_t{decimal(time, 3):0>10}.{suffix}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One image as the manifest tells it. time: seconds, as text. offset: first byte of its data in the zip."""

    n: int
    name: str
    index: int
    pts: int
    time: str
    key: bool
    width: int
    height: int
    bytes: int
    sha256: str
    offset: int

    def json(self) -> str:
        values = {name: json.dumps(value) for name, value in asdict(self).items()} | {"time": self.time}
        return "{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}"

    def row(self) -> list[object]:
        return [str(value).lower() if isinstance(value, bool) else value for value in asdict(self).values()]


class ZipWriter:
    """Writes stored entries to a file that is only ever appended to.

    position: where in the file the writing begins. sha256: of all bytes written so far.
    """

    def __init__(self, file: BinaryIO, position: int = 0) -> None:
        self._file, self.position = file, position
        self._hash = hashlib.sha256()
        self._directory = bytearray()
        self._entries = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def add(self, name: str, data: bytes) -> int:
        """Returns the position of the data's first byte."""
        offset = self._begin(name, len(data), zlib.crc32(data))
        self._write(data)
        return offset

    def add_file(self, name: str, path: Path, chunk_bytes: int = 1 << 20) -> int:
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


class Archive:
    """frames.zip, manifest.json and manifest.csv in a folder; images go in one by one, in time order.

    The rows of the manifest are kept in files: a result of a million images needs no memory for them.
    """

    def __init__(self, folder: Path, spec: FrameSpec, time_base: Fraction, suffix: str = "jpg") -> None:
        self._folder, self._spec, self._time_base, self._suffix = folder, spec, time_base, suffix
        self._zip_file = (folder / "frames.zip").open("wb")
        self._rows = (folder / "manifest.rows").open("w+", encoding="ascii")
        self._table = (folder / "manifest.csv").open("w", encoding="ascii", newline="")
        self._csv = csv.writer(self._table)
        self._csv.writerow([field.name for field in fields(Entry)])
        self._zip = ZipWriter(self._zip_file)
        self.frames = 0

    def add(self, image: bytes, size: tuple[int, int], *, index: int, pts: int, time: Fraction, key: bool) -> None:
        """Adds an image of size (width, height); time in seconds from the first displayed frame."""
        self.frames += 1
        name = image_name(self.frames, time, self._suffix)
        digest = hashlib.sha256(image).hexdigest()
        offset = self._zip.add(name, image)
        entry = Entry(
            self.frames, name, index, pts, decimal(time, 6), key, size[0], size[1], len(image), digest, offset
        )
        self._rows.write(("," if self.frames > 1 else "") + entry.json())
        self._csv.writerow(entry.row())

    def finish(self, warnings: Iterable[ResultWarning]) -> tuple[int, str]:
        """Writes the manifests and ends the zip; returns its size in bytes and its SHA-256."""
        self._table.close()
        manifest = self._folder / "manifest.json"
        self._write_manifest(manifest, warnings)
        for path in (manifest, self._folder / "manifest.csv"):
            self._zip.add_file(path.name, path)
        self._zip.finish()
        self.close()
        (self._folder / "manifest.rows").unlink()
        return self._zip.position, self._zip.sha256

    def close(self) -> None:
        for file in (self._zip_file, self._rows, self._table):
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_manifest(self, path: Path, warnings: Iterable[ResultWarning]) -> None:
        self._rows.seek(0)
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(f'{{"version":{MANIFEST_VERSION},"spec":{canonical(self._spec)},')
            file.write(f'"time_base":[{self._time_base.numerator},{self._time_base.denominator}],')
            file.write(f'"warnings":{json.dumps([asdict(warning) for warning in warnings], ensure_ascii=False)},')
            file.write('"frames":[')
            shutil.copyfileobj(self._rows, file, io.DEFAULT_BUFFER_SIZE)
            file.write("]}")

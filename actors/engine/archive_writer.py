"""Writes frames.zip with its manifests: in one go, and the same bytes for the same input. Pure but for files."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from actors.engine.zip_writer import ZipWriter
from actors.extraction_types import ARCHIVE_FILE, ResultWarning
from db.values.frame_spec import FrameSpec, canonical

MANIFEST_VERSION = 1


def half_up(value: Fraction) -> int:
    """The nearest whole number; half goes up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def decimal(seconds: Fraction, digits: int) -> str:
    """Seconds, not negative, with so many digits after the point, half up."""
    whole, rest = divmod(half_up(seconds * 10**digits), 10**digits)
    return f"{whole}.{rest:0{digits}d}"


def image_name(n: int, time: Fraction, suffix: str) -> str:
    """An image's name in the archive. n: counts from 1. time: the frame's own, seconds."""
    return f"frame_{n:06d}_t{decimal(time, 3):0>10}.{suffix}"


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image in the manifest. time: seconds, as text. offset: first byte of the image in the zip."""

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

    def csv_row(self) -> list[object]:
        return [str(value).lower() if isinstance(value, bool) else value for value in asdict(self).values()]


class ArchiveWriter:
    """frames.zip, manifest.json and manifest.csv in a folder. Images are added one by one, in time order.

    The rows of the manifests are kept in files. The zip's own directory stays in memory until the end, with about 80
    bytes for each image.
    """

    def __init__(self, folder: Path, spec: FrameSpec, time_base: Fraction, suffix: str = "jpg") -> None:
        self._folder, self._spec, self._time_base, self._suffix = folder, spec, time_base, suffix
        self._zip_file = (folder / ARCHIVE_FILE).open("wb")
        self._json_rows = (folder / "manifest.rows").open("w+", encoding="ascii")
        self._csv_file = (folder / "manifest.csv").open("w", encoding="ascii", newline="")
        self._csv = csv.writer(self._csv_file)
        self._csv.writerow([field.name for field in fields(ManifestRow)])
        self._zip = ZipWriter(self._zip_file)
        self.image_count = 0

    def add(self, image: bytes, size: tuple[int, int], *, index: int, pts: int, time: Fraction, key: bool) -> None:
        """size: (width, height). time: seconds from the first displayed frame."""
        self.image_count += 1
        name = image_name(self.image_count, time, self._suffix)
        digest = hashlib.sha256(image).hexdigest()
        offset = self._zip.add(name, image)
        row = ManifestRow(
            self.image_count, name, index, pts, decimal(time, 6), key, size[0], size[1], len(image), digest, offset
        )
        self._json_rows.write(("," if self.image_count > 1 else "") + row.json())
        self._csv.writerow(row.csv_row())

    def finish(self, warnings: Iterable[ResultWarning]) -> tuple[int, str]:
        """Writes the manifests and completes the zip. Returns its size in bytes and its SHA-256."""
        self._csv_file.close()
        manifest = self._folder / "manifest.json"
        self._write_manifest(manifest, warnings)
        for path in (manifest, self._folder / "manifest.csv"):
            self._zip.add_file(path.name, path)
        self._zip.finish()
        self.close()
        (self._folder / "manifest.rows").unlink()
        return self._zip.position, self._zip.sha256

    def close(self) -> None:
        for file in (self._zip_file, self._json_rows, self._csv_file):
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_manifest(self, path: Path, warnings: Iterable[ResultWarning]) -> None:
        self._json_rows.seek(0)
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(f'{{"version":{MANIFEST_VERSION},"spec":{canonical(self._spec)},')
            file.write(f'"time_base":[{self._time_base.numerator},{self._time_base.denominator}],')
            file.write(f'"warnings":{json.dumps([asdict(warning) for warning in warnings], ensure_ascii=False)},')
            file.write('"frames":[')
            shutil.copyfileobj(self._json_rows, file, io.DEFAULT_BUFFER_SIZE)
            file.write("]}")

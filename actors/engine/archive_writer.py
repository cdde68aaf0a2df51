"""Writes frames.zip with its manifests: in one go, and the same bytes for the same input. Pure but for files."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, assert_never

from actors.engine.zip_writer import ZipWriter
from actors.extraction_types import ARCHIVE_FILE, ResultWarning
from db.values.frame_spec import FrameSpec, ImageNames, canonical
from db.values.manifest import CSV_HEAD, MANIFEST_VERSION, ManifestRow, ManifestVideo


def half_up(value: Fraction) -> int:
    """The nearest whole number; half goes up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def decimal(seconds: Fraction, digits: int) -> str:
    """Seconds, not negative, with so many digits after the point, half up."""
    whole, rest = divmod(half_up(seconds * 10**digits), 10**digits)
    return f"{whole}.{rest:0{digits}d}"


def image_name(names: ImageNames, n: int, index: int, time: Fraction, suffix: str) -> str:
    """An image's name in the archive. n: counts from 1. index: of the frame in the video. time: its own, seconds."""
    match names:
        case ImageNames.TIME:
            return f"frame_{n:06d}_t{decimal(time, 3):0>10}.{suffix}"
        case ImageNames.NUMBER:
            return f"frame_{n:06d}.{suffix}"
        case ImageNames.INDEX:
            return f"frame_{index:06d}.{suffix}"
        case _:
            assert_never(names)


class ArchiveWriter:
    """frames.zip, manifest.json and manifest.csv in a folder. Images are added one by one, in time order.

    The rows of the manifests are kept in files. The zip's own directory stays in memory until the end, with about 80
    bytes for each image.
    """

    def __init__(
        self, folder: Path, spec: FrameSpec, video: ManifestVideo, time_base: Fraction, suffix: str = "jpg"
    ) -> None:
        self._folder, self._spec, self._video = folder, spec, video
        self._time_base, self._suffix = time_base, suffix
        self._zip_file = (folder / ARCHIVE_FILE).open("wb")
        self._json_rows = (folder / "manifest.rows").open("w+", encoding="ascii")
        self._csv_file = (folder / "manifest.csv").open("w", encoding="ascii", newline="")
        self._csv_file.write(f"{CSV_HEAD}\r\n")
        self._zip = ZipWriter(self._zip_file)
        self.image_count = 0

    def add(self, image: bytes, size: tuple[int, int], *, index: int, pts: int, time: Fraction, key: bool) -> None:
        """size: (width, height). time: seconds from the first displayed frame."""
        self.image_count += 1
        name = image_name(self._spec.image.names, self.image_count, index, time, self._suffix)
        digest = hashlib.sha256(image).hexdigest()
        offset = self._zip.add(name, image)
        row = ManifestRow(
            self.image_count, name, index, pts, decimal(time, 6), key, size[0], size[1], len(image), digest, offset
        )
        self._json_rows.write(("," if self.image_count > 1 else "") + row.json())
        self._csv_file.write(f"{row.csv_line()}\r\n")

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
            file.write(f'"video":{self._video.json()},')
            file.write(f'"time_base":[{self._time_base.numerator},{self._time_base.denominator}],')
            file.write(f'"warnings":{json.dumps([asdict(warning) for warning in warnings], ensure_ascii=False)},')
            file.write('"frames":[')
            shutil.copyfileobj(self._json_rows, file, io.DEFAULT_BUFFER_SIZE)
            file.write("]}")

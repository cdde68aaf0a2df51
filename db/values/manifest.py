"""The manifest of an archive: the video that it names, and a row for each image. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields

from db.values.media_info import Media, public_media

MANIFEST_VERSION = 2
_CSV_LINE = re.compile(
    r"(\d+),([A-Za-z0-9_.-]+),(\d+),(-?\d+),(\d+\.\d{6}),(true|false),(\d+),(\d+),(\d+),([0-9a-f]{64}),(\d+)"
)


@dataclass(frozen=True, slots=True)
class ManifestVideo:
    """The video of an archive, by what follows from its bytes alone: so the archive does not depend on the video's
    name, its ids, or the time. size: bytes. sha256: lower-case hex."""

    sha256: str
    size: int
    media: Media

    def json(self) -> str:
        facts = {"sha256": self.sha256, "size": self.size} | public_media(self.media.document())
        return json.dumps(facts, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image. time: seconds, as text. offset: first byte of the image's data in the zip."""

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
        return (
            f'{{"n":{self.n},"name":"{self.name}","index":{self.index},"pts":{self.pts},"time":{self.time},'
            f'"key":{_boolean(self.key)},"width":{self.width},"height":{self.height},"bytes":{self.bytes},'
            f'"sha256":"{self.sha256}","offset":{self.offset}}}'
        )

    def csv_line(self) -> str:
        """The row in manifest.csv, without its line end. No value needs quotes."""
        return (
            f"{self.n},{self.name},{self.index},{self.pts},{self.time},{_boolean(self.key)},"
            f"{self.width},{self.height},{self.bytes},{self.sha256},{self.offset}"
        )


CSV_HEAD = ",".join(field.name for field in fields(ManifestRow))
"""The first line of manifest.csv."""


def row_of(csv_line: str) -> ManifestRow:
    """The row of a line of manifest.csv. Raises ValueError when no manifest has such a line."""
    match = _CSV_LINE.fullmatch(csv_line)
    if match is None:
        raise ValueError(f"not a row of a manifest: {csv_line[:200]!r}")
    n, name, index, pts, time, key, width, height, size, sha256, offset = match.groups()
    return ManifestRow(
        int(n),
        name,
        int(index),
        int(pts),
        time,
        key == "true",
        int(width),
        int(height),
        int(size),
        sha256,
        int(offset),
    )


def _boolean(value: bool) -> str:
    return "true" if value else "false"

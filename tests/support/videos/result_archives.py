"""Reads result archives, and the number that each picture of a test clip shows."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.videos.clips import read_number


def read_archive(archive: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and the images of an archive."""
    with zipfile.ZipFile(archive) as zipped:
        assert {info.compress_type for info in zipped.infolist()} == {zipfile.ZIP_STORED}
        data = {name: zipped.read(name) for name in zipped.namelist()}
    manifest = json.loads(data.pop("manifest.json"))
    table = list(csv.DictReader(io.StringIO(data.pop("manifest.csv").decode())))
    assert [row["name"] for row in table] == [frame["name"] for frame in manifest["frames"]] == list(data)
    return manifest, data


def numbers_in(images: dict[str, bytes]) -> list[int | None]:
    """The number that each image shows; None when it is unreadable."""
    return [read_number(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))) for data in images.values()]

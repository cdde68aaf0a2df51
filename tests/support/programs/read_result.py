"""Reads a result with a package of the group `formats`, and prints what the package makes of it as JSON.

It runs in the environment of that group, so it imports nothing of this project.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def read_with_webdataset(shards: str) -> list[dict[str, Any]]:
    """shards: the path of one or several tar files, with braces."""
    import webdataset

    raw = webdataset.WebDataset(shards, shardshuffle=False)
    decoded = webdataset.WebDataset(shards, shardshuffle=False).decode("pil")
    return [
        {"key": sample["__key__"], "row": sample["json"], "size": sample["jpg"].size, "sha256": _sha256(source["jpg"])}
        for source, sample in zip(raw, decoded, strict=True)
    ]


def read_with_datasets(folder: str) -> list[dict[str, Any]]:
    """folder: an unpacked archive, or a folder of several."""
    import datasets
    from PIL import Image

    rows = datasets.load_dataset("imagefolder", data_dir=folder, split="train")
    files = rows.cast_column("image", datasets.Image(decode=False))
    found = []
    for row in files:
        image = row.pop("image")
        content = image["bytes"] or Path(image["path"]).read_bytes()
        size = Image.open(io.BytesIO(content)).size
        found.append({"file": Path(image["path"]).name, "row": row, "size": size, "sha256": _sha256(content)})
    return found


def read_with_pandas(folder: str) -> dict[str, Any]:
    """folder: an unpacked archive with its zip beside it."""
    import pandas

    rows = pandas.read_csv(Path(folder, "manifest.csv"))
    archive = Path(f"{folder}.zip").read_bytes()
    images = [archive[row.offset : row.offset + row.bytes] for row in rows.itertuples()]
    return {
        "types": {name: str(kind) for name, kind in rows.dtypes.items()},
        "times": rows.time.tolist(),
        "keys": rows[rows.key].n.tolist(),
        "is_intact": [_sha256(image) for image in images] == rows.sha256.tolist(),
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


READERS = {"webdataset": read_with_webdataset, "datasets": read_with_datasets, "pandas": read_with_pandas}

if __name__ == "__main__":
    print(json.dumps(READERS[sys.argv[1]](sys.argv[2])))

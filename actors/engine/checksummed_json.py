"""JSON documents that go through the object store and are noticed when they come back different."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ChecksumMismatchError(Exception):
    """Something that was stored came back different: the store's fault, and perhaps not the next time."""


def write_checksummed(path: Path, document: Mapping[str, Any]) -> None:
    body = json.dumps(document)
    path.write_text(f'{{"sha256":"{_digest(body)}","document":{body}}}\n', encoding="ascii")


def read_checksummed(path: Path) -> dict[str, Any]:
    """Raises ChecksumMismatchError."""
    try:
        sealed = json.loads(path.read_text(encoding="ascii"))
        document: dict[str, Any] = sealed["document"]
        is_whole = sealed["sha256"] == _digest(json.dumps(document))
    except (ValueError, KeyError, TypeError) as error:
        raise ChecksumMismatchError(path.name) from error
    if not is_whole:
        raise ChecksumMismatchError(path.name)
    return document


def verify_file(path: Path, sha256: str) -> None:
    """Raises ChecksumMismatchError when the file has another digest."""
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ChecksumMismatchError(path.name)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()

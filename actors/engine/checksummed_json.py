"""JSON files with a checksum: a file that the object store returns changed is noticed when it is read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DIGEST_CHARACTERS = 64
CHUNK_BYTES = 1 << 20
_HEAD = b'{"sha256":"%s","document":'
_END = b"}\n"


class ChecksumMismatchError(Exception):
    """A stored file came back changed. The object store is at fault, and a second try may succeed."""


def write_checksummed(path: Path, document: Mapping[str, Any]) -> None:
    body = json.dumps(document).encode()
    path.write_bytes(_HEAD % hashlib.sha256(body).hexdigest().encode() + body + _END)


def read_checksummed(path: Path) -> dict[str, Any]:
    """Raises ChecksumMismatchError."""
    verify_checksummed(path)
    document: dict[str, Any] = json.loads(path.read_bytes())["document"]
    return document


def verify_checksummed(path: Path) -> None:
    """Reads the file in chunks, so that it need not fit into memory. Raises ChecksumMismatchError."""
    with path.open("rb") as file:
        head = file.read(len(_HEAD % bytes(DIGEST_CHARACTERS)))
        digest, left = hashlib.sha256(), os.fstat(file.fileno()).st_size - len(head) - len(_END)
        while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
        matches = head == _HEAD % digest.hexdigest().encode() and file.read() == _END
    if not matches:
        raise ChecksumMismatchError(path.name)


def verify_file(path: Path, sha256: str) -> None:
    """Raises ChecksumMismatchError when the file has another digest."""
    if file_sha256(path) != sha256:
        raise ChecksumMismatchError(path.name)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

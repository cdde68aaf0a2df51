"""What a child left in its folder, as far as the worker itself relies on it.

The child met a hostile file. So links are followed nowhere, since they may lead to what only the worker may read; what
is read is bounded; and whatever is missing or malformed is the child's doing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from actors.engine.checksummed_json import ChecksumMismatchError, verify_checksummed
from actors.extraction_types import SEGMENT_REPORT

MAX_JSON_BYTES = 1 << 20
"""Of a report, or of the notes on a segment."""


class BadOutputError(Exception):
    """The child did not leave what its answer says; the text names the file."""


class _Digests(msgspec.Struct):
    sha256: dict[str, str]


class _SegmentReport(msgspec.Struct):
    document: _Digests


def check_files(folder: Path, names: Sequence[str]) -> None:
    """Raises BadOutputError unless all of them are files in this very folder. folder: resolved."""
    for name in names:
        path = folder / name
        try:
            is_own = path.resolve(strict=True) == path and path.is_file() and os.access(path, os.R_OK)
        except OSError:
            is_own = False
        if not is_own:
            raise BadOutputError(name)


def check_checksum(path: Path) -> None:
    """Raises BadOutputError when a checksummed file is not what its checksum says."""
    try:
        verify_checksummed(path)
    except ChecksumMismatchError as error:
        raise BadOutputError(path.name) from error


def check_segment(folder: Path, stored: Mapping[str, str]) -> None:
    """Raises BadOutputError when the files of a segment are others than it notes. stored: their digests, by name."""
    check_checksum(folder / SEGMENT_REPORT)
    noted = _read_json(folder / SEGMENT_REPORT, _SegmentReport).document.sha256
    for name, digest in noted.items():
        if stored.get(name) != digest:
            raise BadOutputError(name)


def sign_report(path: Path, *, attempts: int, sequential: bool) -> None:
    """Adds what only the worker knows. Raises BadOutputError."""
    report = _read_json(path, dict[str, Any])
    report |= {"attempts": attempts, "sequential": sequential or report.get("sequential") is True}
    # As a file of its own: the child's may be known under other names.
    path.unlink()
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def _read_json(path: Path, kind: Any) -> Any:
    with path.open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise BadOutputError(path.name)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadOutputError(path.name) from error

"""Checks the files that a child has written, as far as the worker itself relies on them.

The child has read a hostile file. So no link is followed, since it may lead to a file that only the worker may read;
the worker reads a bounded number of bytes; and a missing or malformed file counts as a crash of the child.
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
"""Of a report, of a result or of a segment."""


class BadOutputError(Exception):
    """A file does not match the child's result. The text is the file's name."""


class _Digests(msgspec.Struct):
    sha256: dict[str, str]


class _SegmentReport(msgspec.Struct):
    document: _Digests


def check_files(folder: Path, names: Sequence[str]) -> None:
    """Raises BadOutputError unless all of them are regular files in this folder itself. folder: resolved."""
    for name in names:
        path = folder / name
        try:
            is_own = path.resolve(strict=True) == path and path.is_file() and os.access(path, os.R_OK)
        except OSError:
            is_own = False
        if not is_own:
            raise BadOutputError(name)


def check_checksum(path: Path) -> None:
    """Raises BadOutputError when a checksummed file does not match its checksum."""
    try:
        verify_checksummed(path)
    except ChecksumMismatchError as error:
        raise BadOutputError(path.name) from error


def check_segment(folder: Path, stored: Mapping[str, str]) -> None:
    """Raises BadOutputError when the segment's report has other digests than its files. stored: digests, by name."""
    check_checksum(folder / SEGMENT_REPORT)
    reported = _read_json(folder / SEGMENT_REPORT, _SegmentReport).document.sha256
    for name, digest in reported.items():
        if stored.get(name) != digest:
            raise BadOutputError(name)


def sign_report(path: Path, *, attempts: int, sequential: bool) -> None:
    """Adds the facts that only the worker has: attempts, and whether this try is sequential. Raises BadOutputError."""
    report = _read_json(path, dict[str, Any])
    report |= {"attempts": attempts, "sequential": sequential or report.get("sequential") is True}
    # A new file: the child may have linked its own under other names.
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

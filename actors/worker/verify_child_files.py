"""Checks the files that a child has written, as far as the worker itself relies on them.

The child has read a hostile file. So no link is followed, since it may lead to a file that only the worker may read;
the worker reads a bounded number of bytes; and a missing or malformed file counts as a crash of the child.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from actors.engine.checksummed_json import ChecksumMismatchError, verify_checksummed
from actors.extraction_types import SEGMENT_REPORT, preview_files

MAX_JSON_BYTES = 1 << 20
"""Of a report, of a result or of a segment."""
MAX_PREVIEW_BYTES = 4 << 20
"""Of a preview's contact sheet, which has at most 1,600 × 3,200 pixels."""
MAX_PREVIEW_INDEX_BYTES = 64 << 10
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


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


def read_preview(folder: int, frames: int) -> tuple[bytes, bytes]:
    """The contact sheet and the WebVTT index of the preview of so many images. folder: a file descriptor, which the
    child can't replace by a link while it runs.

    Raises FileNotFoundError when a newer preview has replaced it; BadOutputError.
    """
    sheet_name, index_name = preview_files(frames)
    sheet = _read_own_file(folder, sheet_name, MAX_PREVIEW_BYTES)
    index = _read_own_file(folder, index_name, MAX_PREVIEW_INDEX_BYTES)
    if not (sheet.startswith(_JPEG_START) and sheet.endswith(_JPEG_END)):
        raise BadOutputError(sheet_name)
    if not (index.startswith(b"WEBVTT\n") and index.isascii()):
        raise BadOutputError(index_name)
    return sheet, index


def _read_own_file(folder: int, name: str, max_bytes: int) -> bytes:
    """The content of a regular file without another name. The child may change it at any moment, so what is checked is
    the opened file. A pipe does not block."""
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadOutputError(name) from error
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise BadOutputError(name)
        with open(opened, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    finally:
        os.close(opened)
    if len(content) > max_bytes:
        raise BadOutputError(name)
    return content


def _read_json(path: Path, kind: Any) -> Any:
    with path.open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise BadOutputError(path.name)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadOutputError(path.name) from error

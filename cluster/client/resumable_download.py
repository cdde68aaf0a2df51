"""Where a download lands: a temporary file beside its target, hashed while it grows, renamed when it is proved."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from cluster.client.errors import DownloadCorrupt, UnexpectedAnswer

Received = Callable[[int, int | None], None]
"""Told while a download arrives: bytes so far, bytes in all when known."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class ResumableDownload:
    """The part of a download that is here. What is not finished is removed at the end of the `with` block."""

    def __init__(self, target: Path, on_received: Received | None = None) -> None:
        self.target = target
        self.size = 0
        self._total: int | None = None
        self._etag: str | None = None
        self._on_received = on_received
        self._hash = hashlib.sha256()

    def __enter__(self) -> ResumableDownload:
        # Not mkstemp: its files are for their owner alone, this one is to be as readable as any new file.
        self._part = self.target.with_name(f".{self.target.name[:40]}.{secrets.token_hex(4)}.part")
        self._file = self._part.open("xb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def headers(self) -> dict[str, str]:
        """What to ask for: the rest, if the content is still the same; else all of it."""
        plain = {"Accept-Encoding": "identity"}
        if self._etag is None or not 0 < self.size < (self._total or 0):
            return plain
        return {**plain, "Range": f"bytes={self.size}-", "If-Range": self._etag}

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Takes an answer's head, 200 or 206. Raises UnexpectedAnswer when its range is not the one asked for."""
        if status == 206:
            found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
            if found is None or int(found[1]) != self.size:
                raise UnexpectedAnswer(f"The server sent another range than the one from byte {self.size} on.")
            return
        self._file.seek(0)
        self._file.truncate()
        self._hash, self.size = hashlib.sha256(), 0
        length, etag = headers.get("content-length", ""), headers.get("etag", "")
        self._total = int(length) if length.isdigit() else None
        # A weak tag does not say that the bytes are the same.
        self._etag = etag if etag.startswith('"') else None

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)
        if self._on_received is not None:
            self._on_received(self.size, self._total)

    def finish(self, sha256: str | None) -> Path:
        """Gives the file its name. Raises DownloadCorrupt."""
        actual = self._hash.hexdigest()
        if sha256 is not None and actual != sha256.lower():
            raise DownloadCorrupt(self.target, sha256, actual)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self.target)
        return self.target

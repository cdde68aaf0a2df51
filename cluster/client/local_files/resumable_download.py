"""A download that can be resumed: it is written to a temporary file, which gets its name when the digest is right."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from cluster.client.errors import DownloadCorrupt, UnexpectedAnswer

OnReceived = Callable[[int, int | None], None]
"""Called while a download arrives: bytes so far, bytes in all when known."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class ResumableDownload:
    """The received bytes of a download. The `with` block removes them at its end unless `finish` was called."""

    def __init__(self, target: Path, on_received: OnReceived | None = None) -> None:
        self.target = target
        self.size = 0
        self._total: int | None = None
        self._etag: str | None = None
        self._on_received = on_received
        self._hash = hashlib.sha256()

    def __enter__(self) -> ResumableDownload:
        # Not mkstemp: only the owner can read its files; this file gets the usual permissions.
        self._part = self.target.with_name(f".{self.target.name[:40]}.{secrets.token_hex(4)}.part")
        self._file = self._part.open("xb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def headers(self) -> dict[str, str]:
        """Returns the request headers: for the rest if the content is unchanged, else for all of it."""
        plain = {"Accept-Encoding": "identity"}
        if self._etag is None or not 0 < self.size < (self._total or 0):
            return plain
        return {**plain, "Range": f"bytes={self.size}-", "If-Range": self._etag}

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Reads the head of a response, 200 or 206. Raises UnexpectedAnswer when its range is not the requested one."""
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
        # A weak ETag does not mean that the bytes are the same.
        self._etag = etag if etag.startswith('"') else None

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)
        if self._on_received is not None:
            self._on_received(self.size, self._total)

    def finish(self, sha256: str | None) -> Path:
        """Renames the file to its target. Raises DownloadCorrupt."""
        actual = self._hash.hexdigest()
        if sha256 is not None and actual != sha256.lower():
            raise DownloadCorrupt(self.target, sha256, actual)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self.target)
        return self.target

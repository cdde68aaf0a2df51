"""A file that records which videos a client has uploaded, by their content.

The service itself finds a video of an upload by its content only after a worker has read it.

One JSON array in each line: identity, video, time. A line is appended as a whole: a video costs one write, and several
processes may share the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

RETENTION = timedelta(days=7)
MAX_LINES = 20_000
"""After so many lines the file is emptied. Content that it has named is then sent again."""


def content_identity(server: str, account_id: str, sha256: str) -> str:
    """Returns the digest that identifies this content of this account in the file."""
    return hashlib.sha256(json.dumps([server.rstrip("/"), account_id, sha256]).encode()).hexdigest()


class SentVideos:
    """Damaged lines are ignored, because the record only saves time."""

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._now = now
        self._videos: dict[str, tuple[str, datetime]] = {}
        self._read_bytes = 0

    def find(self, identity: str) -> str | None:
        """Returns the id of the video with this content; None without one. Raises OSError."""
        self._read_new_lines()
        video_id, sent_at = self._videos.get(identity, ("", datetime.min.replace(tzinfo=UTC)))
        return video_id if self._now() - sent_at < RETENTION else None

    def record(self, identity: str, video_id: str) -> None:
        """Adds a line. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        line = json.dumps([identity, video_id, self._now().isoformat()]) + "\n"
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if len(self._videos) >= MAX_LINES else os.O_APPEND)
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def _read_new_lines(self) -> None:
        """Reads the lines that this and other processes have added."""
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._read_bytes:
                    self._read_bytes = 0
                    self._videos.clear()
                file.seek(self._read_bytes)
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return
        for line in lines:
            if line.endswith(b"\n"):
                self._read_bytes += len(line)
                self._add(line)

    def _add(self, line: bytes) -> None:
        try:
            identity, video_id, sent_at = json.loads(line)
            self._videos[str(identity)] = (str(video_id), datetime.fromisoformat(sent_at).astimezone(UTC))
        except (ValueError, TypeError, RecursionError):
            return

"""Which uploads are under way, in a file that outlives the client: after a crash the same call goes on with them.

`{"uploads": {identity: {"file": path, "upload": path on the server, "expires_at": time}}}`. An identity stands for
server, account, file and specification; a file that was changed has another one. Several processes may share the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.client.local_files.local_file import LocalFile
from cluster.client.local_files.private_json_file import DamagedFile, PrivateJsonFile


def upload_identity(server: str, account_id: str, file: LocalFile, spec: str | None, key: str | None) -> str:
    """Returns the name of an upload in the state file. key: the caller's Idempotency-Key, if there is one."""
    path = os.path.abspath(file.path)
    values = [server.rstrip("/"), account_id, path, file.size, file.mtime_ns, spec, key]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


class UploadStateFile:
    """Entries end when their uploads expire. A damaged file counts as empty: resuming only saves time."""

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._file = PrivateJsonFile(path)
        self._now = now

    def find(self, identity: str) -> str | None:
        """Returns the path of the upload on the server, if it is known. Raises OSError."""
        entry = self._entries().get(identity)
        return None if entry is None else entry["upload"]

    def record(self, identity: str, file: LocalFile, upload_path: str, expires_at: datetime) -> None:
        """Remembers an upload until it expires. Raises OSError."""
        entry = {"file": os.path.abspath(file.path), "upload": upload_path, "expires_at": expires_at.isoformat()}
        with self._file.locked():
            self._write(self._entries() | {identity: entry})

    def forget(self, identity: str) -> None:
        """Raises OSError."""
        with self._file.locked():
            entries = self._entries()
            if entries.pop(identity, None) is not None:
                self._write(entries)

    def _entries(self) -> dict[str, dict[str, str]]:
        try:
            uploads = self._file.read().get("uploads")
        except DamagedFile:
            uploads = None
        now = self._now()
        entries = uploads.items() if isinstance(uploads, dict) else ()
        return {identity: entry for identity, entry in entries if _is_valid(entry, now)}

    def _write(self, entries: dict[str, dict[str, str]]) -> None:
        self._file.write({"uploads": entries})


def _is_valid(entry: Any, now: datetime) -> bool:
    try:
        return isinstance(entry["upload"], str) and datetime.fromisoformat(entry["expires_at"]) > now
    except (KeyError, TypeError, ValueError):
        return False

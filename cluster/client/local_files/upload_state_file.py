"""A file that records unfinished uploads, so that the same call continues them after a crash of the program.

`{"uploads": {identity: {"file": path, "sha256": digest, "upload": path on the server, "expires_at": time}}}`. The
identity is a digest of server, account, path, specification and key. `sha256` shows whether the file still has the
content with which the upload began. Several processes may share the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.client.local_files.private_json_file import DamagedFile, PrivateJsonFile
from cluster.client.local_files.sent_videos import SentVideos

_UPLOAD_PATH = re.compile(r"/v1/uploads/[^/?#]+")


def upload_identity(server: str, account_id: str, path: Path, spec: str | None, key: str | None) -> str:
    """Returns the name of an upload in the state file. key: the caller's Idempotency-Key, if there is one."""
    values = [server.rstrip("/"), account_id, os.path.abspath(path), spec, key]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RecordedUpload:
    """upload_path: on the server. sha256: of the whole file, as it was when the upload began."""

    upload_path: str
    sha256: str


class UploadStateFile:
    """An entry is valid until its upload expires. A damaged file counts as empty, because resuming only saves time.

    sent_videos: the videos whose upload is complete, in another file beside this one.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.sent_videos = SentVideos(path.with_suffix(".sent"), now)
        self._file = PrivateJsonFile(path)
        self._now = now

    def find(self, identity: str) -> RecordedUpload | None:
        """Returns the upload, if the file has it. Raises OSError."""
        entry = self._entries().get(identity)
        return None if entry is None else RecordedUpload(entry["upload"], entry["sha256"])

    def record(self, identity: str, file: Path, upload: RecordedUpload, expires_at: datetime) -> None:
        """Writes the entry of an upload. Raises OSError."""
        entry = {"file": os.path.abspath(file), "sha256": upload.sha256, "upload": upload.upload_path}
        with self._file.locked():
            self._write({**self._entries(), identity: {**entry, "expires_at": expires_at.isoformat()}})

    def delete(self, identity: str) -> None:
        """Deletes the entry of an upload, if there is one. Raises OSError."""
        with self._file.locked():
            entries = dict(self._entries())
            if entries.pop(identity, None) is not None:
                self._write(entries)

    def _entries(self) -> Mapping[str, Mapping[str, str]]:
        try:
            uploads = self._file.read().get("uploads")
        except DamagedFile:
            uploads = None
        now = self._now()
        entries = uploads.items() if isinstance(uploads, dict) else ()
        return {identity: entry for identity, entry in entries if _is_valid(entry, now)}

    def _write(self, entries: Mapping[str, Mapping[str, str]]) -> None:
        self._file.write({"uploads": entries})


def _is_valid(entry: Any, now: datetime) -> bool:
    try:
        # Requests to the path carry the token, so it must not lead to another server.
        is_upload = _UPLOAD_PATH.fullmatch(entry["upload"]) is not None
        return is_upload and isinstance(entry["sha256"], str) and datetime.fromisoformat(entry["expires_at"]) > now
    except (KeyError, TypeError, ValueError):
        return False

"""A JSON object in a file that only its owner can read. Processes may share it; a write replaces it as a whole."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any


class DamagedFile(ValueError):
    """The content is not JSON."""


class PrivateJsonFile:
    """The mode is 0600. A reader needs no lock: it sees the whole object before a write or after it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def locked(self) -> AbstractContextManager[object]:
        """Locks out other processes. The kernel releases the lock when the process dies."""
        from filelock import FileLock  # noqa: PLC0415

        self._make_folder()
        # Not bound to a thread: the asyncio client acquires the lock in one thread and releases it in another.
        return FileLock(self.path.with_suffix(".lock"), mode=0o600, thread_local=False, fallback_to_soft=False)

    def read(self) -> dict[str, Any]:
        """Returns an empty object when there is no file. Raises DamagedFile."""
        try:
            document = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            raise DamagedFile(str(self.path)) from error
        return document if isinstance(document, dict) else {}

    def write(self, document: dict[str, Any]) -> None:
        """Replaces the content, all of it or nothing."""
        self._make_folder()
        # mkstemp creates a file that only the owner can read.
        descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(document, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _make_folder(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

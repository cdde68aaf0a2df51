"""One `fotograma up` per data directory: an advisory lock that the system releases when its holder dies in any way."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.local.startup_error import ExitCode, StartupError


@contextmanager
def instance_lock(path: Path, *, description: str) -> Iterator[None]:
    """Takes the lock until the end of the block. Raises StartupError when another process has it.

    description: of this process, for the error message of a second instance.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 4096).decode(errors="replace").strip()
            raise StartupError(
                ExitCode.DATA_DIR_IN_USE,
                f"{path.parent} belongs to a running Fotograma ({holder}). Use that one, end it, or choose another "
                "folder with --home DIR.",
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, description.encode())
        yield
    finally:
        os.close(descriptor)

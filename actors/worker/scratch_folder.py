"""A worker's folder for temporary files. Folders of dead workers are deleted.

The workers of one machine share a root. Each has a lock on a file beside its folder, and the kernel releases the
lock when the process ends. A worker that starts deletes the folders whose locks are free.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from db.values.error_catalogue import CatalogueError

DISK_RESERVE_BYTES = 256 << 20
"""Free space that a child must leave on the disk."""
_LOCK = ".lock"


@contextmanager
def own_folder(root: Path, name: str) -> Iterator[Path]:
    """Yields an empty folder below `root`, and deletes it at the end. name: unique."""
    root.mkdir(parents=True, exist_ok=True)
    remove_dead(root)
    lock, folder = root / f"{name}{_LOCK}", root / name
    with _locked(lock):
        try:
            folder.mkdir()
            yield folder
        finally:
            _remove(folder, lock)


def remove_dead(root: Path) -> int:
    """Deletes the folders of dead processes; returns how many."""
    removed = 0
    for lock in root.glob(f"*{_LOCK}"):
        with suppress(Timeout), _locked(lock, blocking=False):
            _remove(lock.with_name(lock.name.removesuffix(_LOCK)), lock)
            removed += 1
    return removed


def free_bytes(folder: Path) -> int:
    """Returns how many bytes may be written to this disk. Raises CatalogueError `storage_full` when none may."""
    free = shutil.disk_usage(folder).free - DISK_RESERVE_BYTES
    if free <= 0:
        raise CatalogueError("storage_full", "The worker's disk is full.")
    return free


def _locked(lock: Path, *, blocking: bool = True) -> FileLock:
    # Without flock a lock would be a file that stays when its process is killed.
    return FileLock(lock, mode=0o600, blocking=blocking, fallback_to_soft=False)


def _remove(folder: Path, lock: Path) -> None:
    """Deletes a folder and its lock file. The caller has the lock: a process that waits for it makes a new file."""
    shutil.rmtree(folder, ignore_errors=True)
    lock.unlink(missing_ok=True)

"""A worker's folder for temporary files: its own for as long as it lives, and free for removal when it has died.

Workers of one machine share a root. Each holds a lock on a file beside its folder, which the kernel gives up with the
process; whoever begins removes the folders whose locks nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from db.values.error_catalogue import CatalogueError

DISK_RESERVE_BYTES = 256 << 20
"""What a child leaves free of the worker's disk."""
_LOCK = ".lock"


@contextmanager
def own_folder(root: Path, name: str) -> Iterator[Path]:
    """An empty folder below `root`, for one process at a time, removed at the end. name: that nobody else has."""
    root.mkdir(parents=True, exist_ok=True)
    remove_dead(root)
    lock, folder = root / f"{name}{_LOCK}", root / name
    held = _hold(lock)
    try:
        folder.mkdir()
        yield folder
    finally:
        _remove(folder, lock, held)


def remove_dead(root: Path) -> int:
    """Removes the folders of processes that have died; how many."""
    removed = 0
    for lock in root.glob(f"*{_LOCK}"):
        with suppress(FileNotFoundError, BlockingIOError):
            _remove(lock.with_name(lock.name.removesuffix(_LOCK)), lock, _hold_of_dead(lock))
            removed += 1
    return removed


def room(folder: Path) -> int:
    """Bytes that may be written to this disk. Raises CatalogueError `storage_full` when there are none."""
    free = shutil.disk_usage(folder).free - DISK_RESERVE_BYTES
    if free <= 0:
        raise CatalogueError("storage_full", "The worker's disk is full.")
    return free


def _hold(lock: Path) -> int:
    """Its descriptor. Somebody who removes what is dead may take the file away between its making and its locking."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        os.close(descriptor)


def _hold_of_dead(lock: Path) -> int:
    """Its descriptor. Raises FileNotFoundError when it is gone, BlockingIOError while its process lives."""
    descriptor = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove(folder: Path, lock: Path, held: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.unlink(missing_ok=True)
    os.close(held)

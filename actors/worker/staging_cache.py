"""Local copies of videos that the workers of one machine share, so that the tasks of one video fetch it once.

The name of a copy is its SHA-256. A task gets a hard link to it, so an eviction does not affect running tasks, and
verifies the bytes each time. A copy appears by one system call, and the kernel frees the lock of a process that dies:
no crash leaves half a copy or a lock.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from actors.worker.scratch_folder import DISK_RESERVE_BYTES

LOCK_FILES = 256
"""They are never removed. The fetches of two videos that have the same lock file wait for each other."""
LOCK_POLL_SECONDS = 0.1
LOCK_WAIT_SECONDS = 600.0
"""After this time the video is fetched without the lock: the process that has it may be frozen."""


@dataclass(frozen=True, slots=True)
class StagingCache:
    """folder: of all workers of this machine, on the disk of their scratch folders. max_bytes: of all copies."""

    folder: Path
    max_bytes: int
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free

    @asynccontextmanager
    async def fetch_lock(self, name: str) -> AsyncIterator[None]:
        """Lets one worker of this machine at a time fetch the content `name`, a SHA-256 or a video's id."""
        lock = self._lock(name)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOCK_WAIT_SECONDS):
                await _acquire(lock)
        try:
            yield
        finally:
            lock.release()

    def link(self, sha256: str, target: Path) -> bool:
        """Makes `target` a hard link to the copy. False when there is none."""
        copy = self.folder / sha256
        try:
            os.link(copy, target)
            # The copy whose last use is the oldest is evicted first.
            os.utime(copy)
        except OSError:
            target.unlink(missing_ok=True)
            return False
        return True

    def remove(self, sha256: str) -> None:
        """Removes a copy whose bytes do not have its SHA-256."""
        (self.folder / sha256).unlink(missing_ok=True)

    def add(self, sha256: str, path: Path) -> None:
        """Adds a hard link to a verified file. Does nothing when the file is too large or the disk can't link it."""
        with suppress(OSError):
            if path.stat().st_size > self.max_bytes:
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            # A copy appears at once under its own name: after a crash there is nothing that eviction does not know.
            with suppress(FileExistsError):
                os.link(path, self.folder / sha256)
            self._evict(self.max_bytes)

    def make_room(self, size: int) -> None:
        """Evicts copies until `size` bytes more fit on the disk, as far as copies can be evicted."""
        for copy in self._copies():
            if self.free_bytes(copy.parent) >= size + DISK_RESERVE_BYTES:
                return
            copy.unlink(missing_ok=True)

    def _evict(self, max_bytes: int) -> None:
        copies = self._copies()
        kept = sum(_size(copy) for copy in copies)
        for copy in copies:
            if kept <= max_bytes:
                return
            kept -= _size(copy)
            copy.unlink(missing_ok=True)

    def _copies(self) -> list[Path]:
        """Returns the copies, the least recently used first."""
        with suppress(FileNotFoundError):
            dated = [(_last_use(path), path) for path in self.folder.iterdir() if len(path.name) == 64]
            return [path for _, path in sorted(dated)]
        return []

    def _lock(self, name: str) -> FileLock:
        locks = self.folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        number = int(uuid.uuid5(uuid.NAMESPACE_OID, name)) % LOCK_FILES
        # Another thread may release it than the one that acquired it.
        return FileLock(locks / f"{number:03d}", mode=0o600, fallback_to_soft=False, thread_local=False)


async def _acquire(lock: FileLock) -> None:
    # Polled: a thread that waits for a lock can't be cancelled.
    while True:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            await asyncio.sleep(LOCK_POLL_SECONDS)
        else:
            return


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _last_use(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0

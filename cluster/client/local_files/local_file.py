"""A local file that is sent in pieces, each streamed from the disk. A file that changes in the meantime is refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cluster.client.errors import UnsendableFile

AnyPath = str | os.PathLike[str]
BLOCK_BYTES = 1 << 20

OnSent = Callable[[int, int], None]
"""Called while a file is sent: bytes so far, bytes in all. A resumed upload starts from what the service has."""
OnRead = Callable[[int, int], None]
"""Called while a file is read for its SHA-256, before it is sent: bytes so far, bytes in all."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """size: in bytes. mtime_ns: time of the last change. Both are those of the call of `stat_file`."""

    path: Path
    size: int
    mtime_ns: int

    def check_unchanged(self, opened: IO[bytes]) -> None:
        """Raises UnsendableFile when the file has changed since `stat_file`."""
        now = os.fstat(opened.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.size, self.mtime_ns):
            raise UnsendableFile(self.path, "changed while it was read.")


def stat_file(path: Path) -> LocalFile:
    """Returns the file as it is now. Raises OSError when it is missing, UnsendableFile when it is no regular file."""
    if not path.is_file():
        path.stat()
        raise UnsendableFile(path, "is not a file.")
    status = path.stat()
    return LocalFile(path, status.st_size, status.st_mtime_ns)


def sha256_of(file: LocalFile, on_read: OnRead | None = None) -> str:
    """Returns the digest of the whole file in hexadecimal digits. Raises OSError, UnsendableFile."""
    digest, block, done = hashlib.sha256(), memoryview(bytearray(BLOCK_BYTES)), 0
    with file.path.open("rb", buffering=0) as source:
        while count := source.readinto(block):
            digest.update(block[:count])
            done += count
            if on_read is not None:
                on_read(done, file.size)
        file.check_unchanged(source)
    return digest.hexdigest()


def has_content(path: Path, size: int, sha256: str) -> bool:
    """Whether there is a file of this size and digest. Raises OSError."""
    if not path.is_file() or path.stat().st_size != size:
        return False
    return sha256_of(stat_file(path)) == sha256.lower()


@dataclass(frozen=True, slots=True)
class FilePiece:
    """`length` bytes of a file from the byte `start` on, as the body of a request."""

    file: LocalFile
    start: int
    length: int
    on_sent: OnSent | None = None
    content_type: str = "application/offset+octet-stream"

    def chunks(self) -> Iterator[bytes]:
        """Yields blocks. Raises OSError; UnsendableFile when the file has changed, before the last block is sent."""
        remaining = self.length
        with self.file.path.open("rb") as source:
            self.file.check_unchanged(source)
            source.seek(self.start)
            while remaining:
                block = source.read(min(BLOCK_BYTES, remaining))
                remaining -= len(block)
                if not remaining or not block:
                    self.file.check_unchanged(source)
                yield block
                if self.on_sent is not None:
                    self.on_sent(self.start + self.length - remaining, self.file.size)

"""Files as one `multipart/form-data` body (RFC 7578), streamed from the disk; its length is known ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.client.errors import UnsendableFile

CHUNK_BYTES = 1 << 18

OnSent = Callable[[int, int], None]
"""Called while a body is sent: bytes so far, bytes in all. A repeated request starts from 0."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """size: in bytes, when `stat_file` was called."""

    path: Path
    size: int


def stat_file(path: Path) -> LocalFile:
    """Raises OSError when the file does not exist, UnsendableFile when it is not a regular file."""
    if not path.is_file():
        path.stat()
        raise UnsendableFile(path, "is not a file.")
    return LocalFile(path, path.stat().st_size)


def batches(files: Sequence[LocalFile], max_bytes: int, max_files: int) -> list[list[LocalFile]]:
    """Divides files, in their order, into requests of at most `max_bytes` and `max_files` each.

    Raises UnsendableFile for a file that is larger than one request may be.
    """
    cut: list[list[LocalFile]] = []
    left = 0
    for file in files:
        if file.size > max_bytes:
            reason = f"has {file.size:,} bytes; one request takes {max_bytes:,}. Send a smaller or shorter video."
            raise UnsendableFile(file.path, reason)
        if not cut or file.size > left or len(cut[-1]) == max_files:
            cut.append([])
            left = max_bytes
        cut[-1].append(file)
        left -= file.size
    return cut


class MultipartBody:
    """Parts named `file`, then a part named `spec`. boundary: at most 70 characters that occur in no file."""

    def __init__(
        self, files: Sequence[LocalFile], spec: str | None, boundary: str, on_sent: OnSent | None = None
    ) -> None:
        self._files = tuple(files)
        self._boundary = boundary
        self._on_sent = on_sent
        self._heads = [self._head(f'file"; filename="{_quoted(file.path.name)}', _OCTETS) for file in files]
        self._tail = b"" if spec is None else self._head("spec", _JSON) + spec.encode() + b"\r\n"
        self._tail += f"--{boundary}--\r\n".encode()
        self.length = len(self._tail) + sum(
            len(head) + file.size + 2 for head, file in zip(self._heads, files, strict=True)
        )

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self._boundary}"

    def chunks(self) -> Iterator[bytes]:
        """Raises OSError, or UnsendableFile when the size of a file has changed."""
        sent = 0
        for chunk in self._content():
            yield chunk
            sent += len(chunk)
            if self._on_sent is not None:
                self._on_sent(sent, self.length)

    def _content(self) -> Iterator[bytes]:
        for head, file in zip(self._heads, self._files, strict=True):
            yield head
            yield from _read_all(file)
            yield b"\r\n"
        yield self._tail

    def _head(self, name: str, kind: str) -> bytes:
        lines = (f"--{self._boundary}", f'Content-Disposition: form-data; name="{name}"', f"Content-Type: {kind}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")


_OCTETS, _JSON = "application/octet-stream", "application/json"


def _read_all(file: LocalFile) -> Iterator[bytes]:
    left = file.size
    with file.path.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    if left:
        raise UnsendableFile(file.path, "changed while it was sent.")


def _quoted(name: str) -> str:
    """Quotes a name as browsers do (HTML, "multipart/form-data encoding algorithm")."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")

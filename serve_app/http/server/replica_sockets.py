"""The Unix sockets of the API's replicas, one for each that may run at a time."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def socket_paths(folder: Path, replicas: int) -> tuple[Path, ...]:
    """Returns a path for each replica that may run at a time: twice as many as `replicas` while they are replaced."""
    return tuple(folder / f"api-{number}.sock" for number in range(2 * replicas))


@contextmanager
def bound_socket(paths: Sequence[Path]) -> Iterator[socket.socket]:
    """Yields a socket that is bound to the first path that no other process has.

    A process that ends gives its path back. Raises OSError when other processes have all paths.
    """
    for path in paths:
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        try:
            # A replica that was killed leaves its socket file.
            path.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
                path.chmod(0o600)
                yield bound
        finally:
            lock.release()
        return
    raise OSError(f"Replicas listen on all {len(paths)} sockets in {paths[0].parent}.")

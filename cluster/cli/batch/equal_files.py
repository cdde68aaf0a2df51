"""Files of one batch that may have the same content: it is sent once, and the others find it on the server."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from cluster.client.local_files.local_file import OnRead, sha256_of, stat_file


class EqualFiles:
    """Makes files of the same content wait for each other.

    Only files that share their size with another one are read for this.
    """

    def __init__(self) -> None:
        self._sizes: Counter[int | None] = Counter()
        self._contents: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def count(self, paths: Iterable[Path]) -> None:
        """Counts the files of the batch by their size."""
        self._sizes.update(map(_size_of, paths))

    @asynccontextmanager
    async def turn(self, path: Path, slots: AbstractAsyncContextManager[None], on_read: OnRead) -> AsyncIterator[None]:
        """Waits until no other file of the same content has its turn, and holds one of the slots in the block.

        Raises OSError, UnsendableFile.
        """
        size = _size_of(path)
        if size is None or self._sizes[size] < 2:
            async with slots:
                yield
            return
        async with slots:
            sha256 = await asyncio.to_thread(lambda: sha256_of(stat_file(path), on_read))
        # A file that waits for another one takes no slot from the rest of the batch.
        async with self._contents[sha256], slots:
            yield


def _size_of(path: Path) -> int | None:
    """None when the file can't be seen: the upload says why."""
    try:
        return path.stat().st_size
    except OSError:
        return None

"""The database and the objects of an application, which tests check after a response."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from db.object_store.folder_store import FolderStore
from db.object_store.object_store import ObjectStore


@dataclass(frozen=True, slots=True)
class Stores:
    """folder: the folder of the objects."""

    database: AsyncEngine
    folder: Path
    _abandoned: frozenset[Path] = field(init=False)
    """Files that processes were writing when earlier tests killed them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_abandoned", frozenset(self._staged_files()))

    @property
    def objects(self) -> ObjectStore:
        return FolderStore(self.folder)

    def staged_bytes(self) -> int:
        """The size of the files that are being written."""
        size = 0
        for path in self._staged_files() - self._abandoned:
            with suppress(FileNotFoundError):  # the write has ended meanwhile
                size += path.stat().st_size
        return size

    def _staged_files(self) -> set[Path]:
        return set((self.folder / ".staging").glob("*"))

"""What an export of an account needs beside its rows: a place among the exports that run, and the list of its files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from db.values.error_catalogue import CatalogueError

MAX_EXPORTS = 4
"""Of one replica at a time. An export reads all that an account has, for as long as its client takes."""
RETRY_SECONDS = 60
_PAGE_ROWS = 200


@dataclass(slots=True)
class ConcurrentExports:
    """The exports that one replica sends: one of each account, and MAX_EXPORTS in all."""

    _user_ids: set[UUID] = field(default_factory=set)

    @property
    def count(self) -> int:
        return len(self._user_ids)

    def begin(self, user_id: UUID) -> Callable[[], None]:
        """Counts an export, and returns what ends it. Raises CatalogueError `too_many_requests`."""
        if user_id in self._user_ids:
            raise CatalogueError(
                "too_many_requests", "An export of this account is being sent.", retry_after=RETRY_SECONDS
            )
        if self.count >= MAX_EXPORTS:
            raise CatalogueError(
                "too_many_requests", f"{MAX_EXPORTS} exports are being sent.", retry_after=RETRY_SECONDS
            )
        self._user_ids.add(user_id)
        return lambda: self._user_ids.discard(user_id)


class EndingResponse(StreamingResponse):
    """A response that calls `on_end` when it has been sent, or was broken off."""

    on_end: Callable[[], None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.on_end()


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file that the rows of an export name. name: in the archive, or the folder of a result's files.

    object_key: of one object, or a prefix that ends with a slash. size: bytes that are to come. max_bytes: an upper
    bound; None when there is none.
    """

    name: str
    object_key: str
    size: int
    max_bytes: int | None


class FileList:
    """The files that the rows of one export name, in their order and each once.

    Rows are deleted while files are sent. This list is not, so that a file which is gone by then is noticed. It is on
    the disk when it is large.
    """

    def __init__(self) -> None:
        # SQLite keeps a database without a name in memory as far as its cache goes, then in a temporary file.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(
            "CREATE TABLE files (place INTEGER PRIMARY KEY, name TEXT UNIQUE, object_key TEXT, size INTEGER,"
            " max_bytes INTEGER)"
        )

    def add(self, file: ListedFile) -> None:
        values = (file.name, file.object_key, file.size, file.max_bytes)
        self._database.execute(
            "INSERT OR IGNORE INTO files (name, object_key, size, max_bytes) VALUES (?, ?, ?, ?)", values
        )

    def __iter__(self) -> Iterator[ListedFile]:
        place = 0
        statement = "SELECT * FROM files WHERE place > ? ORDER BY place LIMIT ?"
        while rows := self._database.execute(statement, (place, _PAGE_ROWS)).fetchall():
            place = rows[-1][0]
            yield from (ListedFile(*row[1:]) for row in rows)

    def close(self) -> None:
        self._database.close()

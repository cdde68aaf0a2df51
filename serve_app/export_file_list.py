"""The list of the files that an export of an account contains."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

_PAGE_ROWS = 200


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
    """The files that the rows of one export name, in their order, each once.

    Rows may be deleted while files are sent. The list stays, so that a missing file is noticed. A large list is on the
    disk.
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

"""The schema of the database as a part of the supervisor: migrated as soon as the database answers."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from cluster.local.startup_error import ExitCode, StartupError, first_line
from db.schema_revision import has_schema


class DatabaseSchema:
    """after: the name of the embedded database's part; empty when the environment names a database."""

    name = "Database schema"
    ending = "The database has an older schema; it is migrated again"
    pid = None

    def __init__(self, url: str, *, after: Sequence[str] = ()) -> None:
        self.after = after
        self._url = url
        self._is_current = False
        self.has_been_current = threading.Event()
        """Set when the database can be used for the first time."""

    def start(self) -> None:
        """Raises StartupError when the database refuses the schema; another error when it is away."""
        if not has_schema(self._url):
            self._migrate()
        self._is_current = True
        self.has_been_current.set()

    def _migrate(self) -> None:
        from alembic.util.exc import CommandError  # noqa: PLC0415 - only when there is something to migrate
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        from db import migrate  # noqa: PLC0415
        from db.connection import is_outage  # noqa: PLC0415

        try:
            migrate.upgrade(self._url)
        except (SQLAlchemyError, CommandError) as error:
            if is_outage(error):
                raise
            raise StartupError(ExitCode.FAILED, f"The database could not be migrated: {first_line(error)}") from error

    def is_running(self) -> bool:
        return self._is_current

    def renew(self) -> None:
        """Makes the supervisor migrate again. For a database with an older schema, such as one that was replaced."""
        self._is_current = False

    def stop(self) -> None:
        """Does nothing: no process runs."""

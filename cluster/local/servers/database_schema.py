"""The tables of the database, as a part of the service: made, or brought up to date, once the database answers."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from alembic.util.exc import CommandError
from sqlalchemy.exc import SQLAlchemyError

from cluster.local.startup_error import ExitCode, StartupError, first_line
from db import migrate
from db.connection import is_outage


class DatabaseSchema:
    """after: the part that is the database; empty for one that is not our own."""

    name = "Database schema"
    ending = "The database has an older schema; it is migrated again"
    pid = None

    def __init__(self, url: str, *, after: Sequence[str] = ()) -> None:
        self.after = after
        self._url = url
        self._is_current = False
        self.was_current = threading.Event()
        """Set once the database could be used for the first time."""

    def start(self) -> None:
        """Raises StartupError when the database will not have the schema; whatever the database raises when it is
        away.
        """
        try:
            migrate.upgrade(self._url)
        except (SQLAlchemyError, CommandError) as error:
            if is_outage(error):
                raise
            raise StartupError(ExitCode.FAILED, f"The database could not be migrated: {first_line(error)}") from error
        self._is_current = True
        self.was_current.set()

    def is_running(self) -> bool:
        return self._is_current

    def renew(self) -> None:
        """The database was found to have an older schema: it may have been replaced."""
        self._is_current = False

    def stop(self) -> None:
        """Nothing runs."""

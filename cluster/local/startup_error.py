"""Why `fotograma up` does not run: one line for the person who started it, and an exit code for their scripts."""

from __future__ import annotations

import errno
from enum import IntEnum

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class ExitCode(IntEnum):
    """How `fotograma up` ends. 2 is left to the command line's own complaints."""

    ENDED = 0
    """It ran and was asked to end."""
    FAILED = 1
    """A setting can't be used, the database can't be migrated, or anything that no other code names."""
    DATA_DIR_IN_USE = 3
    """Another `fotograma up` runs on this data directory."""
    PORT_TAKEN = 4
    """Something else listens on the port."""
    NO_SPACE = 5
    """The data directory can't be written, or its disk is too full."""
    UNREACHABLE = 6
    """A server named by FOTOGRAMA_DATABASE_URL, FOTOGRAMA_REDIS_URL or FOTOGRAMA_OBJECTS_URL does not answer."""
    NOT_INSTALLED = 7
    """A package or a program of the service is missing, or can't be run."""


class StartupError(Exception):
    """`fotograma up` can't run, and no waiting changes that. The message is one line and says what to do."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def is_lasting(error: Exception) -> bool:
    """Whether trying again can't help: somebody has to do something first."""
    if isinstance(error, OSError):
        return error.errno in FULL_DISK
    return isinstance(error, StartupError | ModuleNotFoundError)


def first_line(error: Exception) -> str:
    """What the error says, short enough for one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__

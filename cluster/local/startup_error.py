"""Why `fotograma up` does not start: one line for the person who started it, and an exit code for scripts."""

from __future__ import annotations

import errno
from enum import IntEnum

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class ExitCode(IntEnum):
    """How `fotograma up` ends. The command line ends with 2 for wrong options."""

    ENDED = 0
    """It ran until a signal stopped it."""
    FAILED = 1
    """A setting can't be used, the database can't be migrated, or another error without a code of its own."""
    DATA_DIR_IN_USE = 3
    """Another `fotograma up` runs on this data directory."""
    PORT_TAKEN = 4
    """Another program listens on the port."""
    NO_SPACE = 5
    """The data directory can't be written, or its disk is too full."""
    UNREACHABLE = 6
    """A server named by FOTOGRAMA_DATABASE_URL, FOTOGRAMA_REDIS_URL or FOTOGRAMA_OBJECTS_URL does not answer, or
    refuses a right.
    """
    NOT_INSTALLED = 7
    """A package or a program of the service is missing, or can't be run."""


class StartupError(Exception):
    """`fotograma up` can't run, and waiting does not change that. The message is one line with the remedy."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def is_lasting(error: Exception) -> bool:
    """Whether another try fails as well, until a person has removed the cause."""
    if isinstance(error, OSError):
        return error.errno in FULL_DISK
    return isinstance(error, StartupError | ModuleNotFoundError)


def first_line(error: Exception) -> str:
    """The first line of the error's message, at most 300 characters; without a message, the error's type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__

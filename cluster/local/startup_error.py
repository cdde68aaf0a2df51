"""Why `fotograma up` does not run: one line for the person who started it, and an exit code for their scripts."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How `fotograma up` ends. 2 is left to the command line's own complaints."""

    ENDED = 0
    """It ran and was asked to end."""
    FAILED = 1
    """A server did not start, or anything that no other code names."""
    HOME_IN_USE = 3
    """Another `fotograma up` runs on this home."""
    PORT_TAKEN = 4
    """Something else listens on the port."""
    NO_SPACE = 5
    """The home can't be written, or its disk is too full."""
    UNREACHABLE = 6
    """A server named by FOTOGRAMA_DATABASE_URL, FOTOGRAMA_REDIS_URL or FOTOGRAMA_OBJECTS_URL does not answer."""
    NOT_INSTALLED = 7
    """A package of the service is missing."""
    BROKE_DOWN = 8
    """It ran, and Ray ended by itself again and again; starting again continues."""


class Refusal(Exception):
    """`fotograma up` can't run, or go on. The message is one line and says what to do."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code

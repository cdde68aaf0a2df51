"""The exit codes of the command line, for scripts. 65 to 77 have the meanings of sysexits.h."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.client.api_types import Failure

CONNECTION_FAILED = "connection_failed"
NOT_ALLOWED_CODES = frozenset(
    {"account_disabled", "bad_credentials", "refresh_token_reused", "registration_closed", "session_required"}
    | {"token_expired", "unauthenticated", "http_401", "http_403"}
)


class CommandExitCode(IntEnum):
    """How a command ended. 0: all of it is done."""

    FAILED = 1
    """A video or this machine failed; the same command again changes nothing."""
    USAGE = 2
    """The command line is wrong."""
    PARTIAL = 3
    """Some is done; the rest failed or was refused, and the same command again changes nothing."""
    REFUSED = 65
    """Nothing was taken. The value is EX_DATAERR."""
    UNREACHABLE = 69
    """The service can't be reached. The value is EX_UNAVAILABLE."""
    TRY_AGAIN = 75
    """The service failed, or the time was over; the same command again does the rest. The value is EX_TEMPFAIL."""
    NOT_ALLOWED = 77
    """Not logged in, or not allowed. The value is EX_NOPERM."""
    INTERRUPTED = 130
    """128 + SIGINT, as in shells."""


_LOCAL_CODES = frozenset(
    {"bad_address", "failed", "folder_taken", "local_file", "package_missing", "unexpected_answer"}
)
"""Of errors in which no service has refused anything."""


def exit_code_of(failure: Failure) -> CommandExitCode:
    """Returns the exit code of a command whose only request ended with this failure."""
    if failure.code in NOT_ALLOWED_CODES:
        return CommandExitCode.NOT_ALLOWED
    if failure.code == CONNECTION_FAILED:
        return CommandExitCode.UNREACHABLE
    if failure.code in _LOCAL_CODES:
        return CommandExitCode.FAILED
    return CommandExitCode.TRY_AGAIN if failure.fault == "service" else CommandExitCode.REFUSED

"""The time limit of a command that asks a service: `--timeout`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from cluster.client.errors import FotogramaError


class TimeIsOver(FotogramaError):
    """The command was not finished in the given time."""

    default_code, default_fault = "wait_timeout", "service"

    def __init__(self, seconds: float) -> None:
        remedy = "Give it a longer --timeout."
        super().__init__(f"It was not finished after {seconds:g} s. {remedy}", remedy=remedy)


class _Alarm(BaseException):
    """Ends the block. No `except Exception` on its way can hold it."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Ends the block after so long, whatever it waits for. Only for the main thread. Raises TimeIsOver."""
    if seconds is None:
        yield
        return

    def ring(*_: object) -> NoReturn:
        raise _Alarm

    earlier = signal.signal(signal.SIGALRM, ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Alarm:
        raise TimeIsOver(seconds) from None
    finally:
        signal.signal(signal.SIGALRM, earlier)

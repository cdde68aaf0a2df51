"""The lines that `fotograma up` prints about its parts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from cluster.local.servers.server_process import ServerDidNotStart
from cluster.local.startup_error import StartupError, first_line
from cluster.local.supervision.supervisor import Ended, Event, Started, StartFailed


def event_line(event: Event) -> str:
    """The line for an event of the supervisor."""
    match event:
        case Started(again=False):
            return step_line(event.part, event.seconds)
        case Started():
            return f"{event.part} runs again."
        case Ended():
            return f"{event.ending}{_pause(event.pause_seconds)}."
        case StartFailed():
            return f"{_why(event)} It is tried again{_pause(event.pause_seconds)}."
        case _:
            assert_never(event)


def step_line(step: str, seconds: float) -> str:
    """The line for a finished step of the start, with its seconds."""
    return f"  {step:<34} {seconds:5.1f} s"


def progress_line(steps: Sequence[str], seconds: float) -> str:
    """The unfinished steps with the seconds since the start; "" when all are finished."""
    return f"  {'; '.join(steps)} ... {seconds:.0f} s" if steps else ""


def _pause(seconds: float) -> str:
    return f" in {seconds:g} s" if seconds else ""


def _why(event: StartFailed) -> str:
    if isinstance(event.error, ServerDidNotStart | StartupError):
        return f"{str(event.error).rstrip('.')}."
    return f"{event.part} did not start ({first_line(event.error).rstrip('.')})."

"""What `fotograma up` says about its parts, as lines for a terminal. Pure."""

from __future__ import annotations

from typing import assert_never

from cluster.local.servers.server_process import DidNotStart
from cluster.local.startup_error import Refusal, first_line
from cluster.local.supervision.supervisor import Ended, Event, Started, StartFailed


def line_of(event: Event) -> str:
    """An event of the supervisor."""
    match event:
        case Started(again=False):
            return f"  {event.part:<34} {event.seconds:5.1f} s"
        case Started():
            return f"{event.part} runs again."
        case Ended():
            return f"{event.ending}{_pause(event.pause_seconds)}."
        case StartFailed():
            return f"{_why(event)} It is tried again{_pause(event.pause_seconds)}."
        case _:
            assert_never(event)


def _pause(seconds: float) -> str:
    return f" in {seconds:g} s" if seconds else ""


def _why(event: StartFailed) -> str:
    if isinstance(event.error, DidNotStart | Refusal):
        return f"{str(event.error).rstrip('.')}."
    return f"{event.part} did not start ({first_line(event.error).rstrip('.')})."

"""The lines that `fotograma up` prints about its parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.local.servers.server_process import ServerDidNotStart
from cluster.local.startup_error import ExitCode, StartupError
from cluster.local.supervision.event_messages import event_line
from cluster.local.supervision.supervisor import Ended, Event, Started, StartFailed


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Started("Valkey", 0.84, again=False), "  Valkey                               0.8 s"),
        (Started("Valkey", 0.84, again=True), "Valkey runs again."),
        (Ended("Valkey", "Valkey ended; it is started again", 0.0), "Valkey ended; it is started again."),
        (Ended("Valkey", "Valkey ended; it is started again", 0.5), "Valkey ended; it is started again in 0.5 s."),
        (
            StartFailed("Valkey", ServerDidNotStart("Valkey", "exit code 1", Path("/no/log")), 30.0),
            "Valkey did not start (exit code 1). /no/log has no new line. It is tried again in 30 s.",
        ),
        (
            StartFailed("Ray", StartupError(ExitCode.PORT_TAKEN, "Port 8000 is taken."), 0.0),
            "Port 8000 is taken. It is tried again.",
        ),
        (
            StartFailed("Ray", OSError(11, "Resource temporarily unavailable"), 1.0),
            "Ray did not start ([Errno 11] Resource temporarily unavailable). It is tried again in 1 s.",
        ),
    ],
)
def test_every_event_is_one_line(event: Event, line: str) -> None:
    assert event_line(event) == line

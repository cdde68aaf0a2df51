"""The supervisor: concurrent starts, restarts, and stops in the reverse order."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from cluster.local.startup_error import ExitCode, StartupError
from cluster.local.supervision.restart_policy import RestartPolicy
from cluster.local.supervision.supervisor import Ended, Event, Phase, Started, StartFailed, Supervisor

SECONDS = 20.0
"""How long a test waits for an event."""
CHECK_SECONDS = 0.002
QUICK = RestartPolicy(first_pause=0.001, longest_pause=0.002)
TAKEN = StartupError(ExitCode.PORT_TAKEN, "Port 8000 is taken.")


class Server:
    """A part whose starts and end the test decides. starts: what each start raises; the last one repeats.

    may_start: a start waits until it is set. is_starting: a start has begun.
    """

    def __init__(
        self, name: str, starts: Sequence[Exception | None] = (None,), *, after: Sequence[str] = (), log: list[str]
    ) -> None:
        self.name, self.after, self.ending = name, after, f"{name} ended"
        self.pid: int | None = None
        self.may_start = threading.Event()
        self.may_start.set()
        self.is_starting = threading.Event()
        self._starts, self._log = list(starts), log
        self._runs = threading.Event()

    def start(self) -> None:
        self._log.append(f"{self.name} starts")
        self.pid = 42
        self.is_starting.set()
        assert self.may_start.wait(SECONDS)
        error = self._starts.pop(0) if len(self._starts) > 1 else self._starts[0]
        if error is not None:
            raise error
        self._runs.set()

    def is_running(self) -> bool:
        return self._runs.is_set()

    def end(self) -> None:
        self._runs.clear()

    def stop(self) -> None:
        if self.pid is not None:
            self._log.append(f"{self.name} is stopped")
        self.pid = None
        self.may_start.set()
        self._runs.clear()


class RecordedEvents:
    """The events and phases that the supervisor reports."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.phases: list[dict[str, Phase]] = []
        self._changed = threading.Condition()

    def record(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[list[Event]], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.events), SECONDS), self.events

    def wait_for_starts(self, name: str, times: int) -> None:
        self.wait_for(lambda _: self.starts_of(name) == times)

    def starts_of(self, name: str) -> int:
        return sum(isinstance(event, Started) and event.part == name for event in self.events)


@contextmanager
def supervised(*parts: Server) -> Iterator[tuple[Supervisor, RecordedEvents]]:
    recorded = RecordedEvents()
    supervisor = Supervisor(
        parts,
        on_event=recorded.record,
        on_phases=lambda phases: recorded.phases.append(dict(phases)),
        policy=QUICK,
        check_seconds=CHECK_SECONDS,
    )
    supervisor.start()
    try:
        yield supervisor, recorded
    finally:
        supervisor.stop()


def wait_until_error(supervisor: Supervisor) -> None:
    while True:
        supervisor.wait(SECONDS)


def test_parts_start_concurrently_except_those_that_need_another() -> None:
    log: list[str] = []
    database, schema, ray = (Server(*names, log=log) for names in [("database",), ("schema",), ("ray",)])
    schema.after = ["database"]
    database.may_start.clear()
    with supervised(database, schema, ray) as (supervisor, recorded):
        recorded.wait_for(lambda events: any(event.part == "ray" for event in events))
        assert not supervisor.all_run
        assert "schema starts" not in log
        database.may_start.set()
        recorded.wait_for(lambda events: any(event.part == "schema" for event in events))
        assert supervisor.all_run


def test_part_that_ends_is_started_again_every_time() -> None:
    server = Server("server", log=[])
    with supervised(server) as (_, recorded):
        for times in range(1, 11):
            recorded.wait_for_starts("server", times)
            server.end()
        recorded.wait_for_starts("server", 11)
    ends = [event for event in recorded.events if isinstance(event, Ended)]
    assert [end.ending for end in ends] == ["server ended"] * len(ends)
    assert [event.again for event in recorded.events if isinstance(event, Started)] == [False] + [True] * 10
    assert [end.pause_seconds for end in ends[:3]] == [0, QUICK.first_pause, QUICK.longest_pause]


def test_failed_start_is_repeated() -> None:
    errors = [RuntimeError("it ended while it started"), OSError(errno.EAGAIN, "no more processes"), AssertionError()]
    server = Server("server", [*errors, None], log=[])
    with supervised(server) as (supervisor, recorded):
        recorded.wait_for(lambda _: recorded.starts_of("server") == 1)
        supervisor.wait(0)
    failed = [event for event in recorded.events if isinstance(event, StartFailed)]
    assert [event.error for event in failed] == errors


@pytest.mark.parametrize("cause", [TAKEN, ModuleNotFoundError("ray"), OSError(errno.ENOSPC, "no space left")])
def test_lasting_cause_ends_the_first_start(cause: Exception) -> None:
    log: list[str] = []
    other, server = Server("other", log=log), Server("server", [cause], log=log)
    server.may_start.clear()
    with supervised(other, server) as (supervisor, recorded):
        recorded.wait_for_starts("other", 1)
        server.may_start.set()
        with pytest.raises(type(cause)):
            wait_until_error(supervisor)
        assert log.count("server starts") == 1
        assert not any(isinstance(event, StartFailed) for event in recorded.events)
    assert "other is stopped" in log


def test_lasting_cause_is_retried_once_all_was_ready() -> None:
    server = Server("server", [None, TAKEN, OSError(errno.ENOSPC, "no space left"), None], log=[])
    with supervised(server) as (supervisor, recorded):
        recorded.wait_for(lambda _: recorded.starts_of("server") == 1)
        supervisor.wait_for_lasting_causes()
        server.end()
        recorded.wait_for(lambda _: recorded.starts_of("server") == 2)
        supervisor.wait(0)


def test_part_that_ended_is_in_the_phase_restarting() -> None:
    server = Server("server", [None, RuntimeError("no"), None], log=[])
    with supervised(server) as (_, recorded):
        recorded.wait_for(lambda _: recorded.starts_of("server") == 1)
        server.end()
        recorded.wait_for(lambda _: recorded.starts_of("server") == 2)
    assert [phases["server"] for phases in recorded.phases] == [Phase.RUNNING, Phase.RESTARTING, Phase.RUNNING]


def test_last_part_is_stopped_first_and_nothing_starts_afterwards() -> None:
    log: list[str] = []
    parts = [Server(name, log=log) for name in ("database", "cache", "ray")]
    with supervised(*parts) as (supervisor, recorded):
        recorded.wait_for(lambda _: supervisor.all_run)
        log.clear()
    assert log == ["ray is stopped", "cache is stopped", "database is stopped"]


def test_part_can_be_stopped_while_it_starts() -> None:
    log: list[str] = []
    server = Server("server", [RuntimeError("stopped")], log=log)
    server.may_start.clear()
    with supervised(server) as (_, recorded):
        assert server.is_starting.wait(SECONDS)
    assert log[-1] == "server is stopped"
    assert recorded.events == []


def test_part_whose_thread_ends_just_after_the_stop_is_stopped_again() -> None:
    may_start, started = threading.Event(), threading.Event()

    class LateServer(Server):
        def start(self) -> None:
            started.set()
            assert may_start.wait(SECONDS)
            super().start()

        def stop(self) -> None:
            super().stop()
            if not may_start.is_set():
                # The supervisor goes on when the start has succeeded, and the thread has ended.
                may_start.set()
                (thread,) = (thread for thread in threading.enumerate() if thread.name == self.name)
                thread.join(SECONDS)

    server = LateServer("late server", log=[])
    with supervised(server):
        assert started.wait(SECONDS)
    assert not server.is_running()


def test_process_tree_of_a_part_is_ended_before_its_restart() -> None:
    log: list[str] = []
    server = Server("server", log=log)
    recorded = RecordedEvents()
    supervisor = Supervisor(
        [server],
        on_event=recorded.record,
        end_process_tree=lambda pid: log.append(f"{pid} is cleared"),
        policy=QUICK,
        check_seconds=CHECK_SECONDS,
    )
    supervisor.start()
    recorded.wait_for(lambda _: recorded.starts_of("server") == 1)
    server.end()
    recorded.wait_for(lambda _: recorded.starts_of("server") == 2)
    supervisor.stop()
    assert log[:3] == ["server starts", "42 is cleared", "server starts"]

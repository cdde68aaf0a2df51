"""Starts the parts of the service concurrently, and restarts each part that ends, until it is stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from cluster.local.servers.server_process import ServerDidNotStart
from cluster.local.startup_error import StartupError, is_lasting
from cluster.local.supervision.restart_policy import RestartPolicy

CHECK_SECONDS = 0.2
STOP_SECONDS = 10.0
"""How long a part's thread may take to end."""

log = logging.getLogger(__name__)


class Part(Protocol):
    """One part of the service, which has to run.

    name: for people. after: names of the parts that must run before this one starts. pid: of its last process, also
    after its end; None without a process. ending: a sentence for people that it has ended by itself.
    """

    @property
    def name(self) -> str: ...

    @property
    def after(self) -> Sequence[str]: ...

    @property
    def pid(self) -> int | None: ...

    @property
    def ending(self) -> str: ...

    def start(self) -> None:
        """Returns when the part can be used. Raises StartupError for a cause that lasts until a person removes it."""

    def is_running(self) -> bool: ...

    def stop(self) -> None:
        """Ends the part in any state. Called from another thread than `start`."""


class Phase(StrEnum):
    """The state of a part."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    """It ended, or did not start. It is started again, now or after a pause."""


@dataclass(frozen=True, slots=True)
class Started:
    """seconds: the duration of the start. again: the part had run before."""

    part: str
    seconds: float
    again: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The part ended by itself. ending: the part's sentence about it. pause_seconds: until the restart."""

    part: str
    ending: str
    pause_seconds: float


@dataclass(frozen=True, slots=True)
class StartFailed:
    """pause_seconds: until the next try."""

    part: str
    error: Exception
    pause_seconds: float


Event = Started | Ended | StartFailed


@dataclass(slots=True)
class _Supervised:
    """A part, its thread, and the count of its failures."""

    part: Part
    phase: Phase = Phase.STARTING
    failures: int = 0
    has_run: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Supervisor:
    """parts: in the order of their start; they stop in the reverse order.

    on_event: called with each event. on_phases: called with the phases of all parts when one changes. Both are called
    from the parts' threads. end_process_tree: ends what remains of the process tree of this pid. check_seconds: between
    two checks of whether a part runs.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        on_event: Callable[[Event], None] = lambda event: None,
        on_phases: Callable[[Mapping[str, Phase]], None] = lambda phases: None,
        end_process_tree: Callable[[int], object] = lambda pid: None,
        policy: RestartPolicy | None = None,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._on_event, self._on_phases, self._end_process_tree = on_event, on_phases, end_process_tree
        self._policy, self._check_seconds = policy or RestartPolicy(), check_seconds
        self._supervised = {part.name: _Supervised(part) for part in parts}
        self._changed = threading.Condition()
        self._failure: Exception | None = None
        self._waits_for_lasting_causes = False

    @property
    def all_run(self) -> bool:
        return set(self.phases.values()) <= {Phase.RUNNING}

    @property
    def phases(self) -> Mapping[str, Phase]:
        """By the parts' names."""
        with self._changed:
            return {name: one.phase for name, one in self._supervised.items()}

    def start(self) -> None:
        """Starts each part in a thread of its own, and returns at once."""
        for one in self._supervised.values():
            one.thread = threading.Thread(target=self._supervise, args=[one], name=one.part.name, daemon=True)
            one.thread.start()

    def wait(self, seconds: float) -> None:
        """Waits until a part's phase changes, at most `seconds`. Raises the lasting cause for which a part failed."""
        with self._changed:
            if self._failure is None:
                self._changed.wait(seconds)
            if self._failure is not None:
                raise self._failure

    def wait_for_lasting_causes(self) -> None:
        """From this call on, retries after lasting causes as well, because a person may remove them.

        Raises a lasting cause that occurred just before.
        """
        with self._changed:
            if self._failure is not None:
                raise self._failure
            self._waits_for_lasting_causes = True

    def stop(self) -> None:
        """Stops the last part first. The parts before it are supervised until they are stopped."""
        for one in reversed(self._supervised.values()):
            one.stopping.set()
            one.part.stop()
            deadline = time.monotonic() + STOP_SECONDS
            while one.thread is not None and one.thread.is_alive() and time.monotonic() < deadline:
                one.thread.join(self._check_seconds)
                one.part.stop()
            # Its thread may have started the process once more, and ended before the loop.
            one.part.stop()

    def _supervise(self, one: _Supervised) -> None:
        while not one.stopping.is_set():
            self._await_running(one.part.after, one.stopping)
            try:
                pause = self._run_once(one)
            except Exception as error:  # noqa: BLE001 - reported, logged and retried
                pause = None if one.stopping.is_set() else self._after_failure(one, error)
            if pause is None or one.stopping.wait(pause):
                return

    def _await_running(self, names: Sequence[str], stopping: threading.Event) -> None:
        with self._changed:
            while any(self._supervised[name].phase is not Phase.RUNNING for name in names) and not stopping.is_set():
                self._changed.wait(self._check_seconds)

    def _run_once(self, one: _Supervised) -> float | None:
        """Starts the part and waits until it ends. Returns the seconds until the next start; None for no more start."""
        if one.part.pid is not None:
            self._end_process_tree(one.part.pid)
        if one.stopping.is_set():
            return None
        start_time = time.monotonic()
        one.part.start()
        ready_time = time.monotonic()
        self._enter(one, Phase.RUNNING)
        self._on_event(Started(one.part.name, ready_time - start_time, one.has_run))
        one.has_run = True
        while one.part.is_running() and not one.stopping.wait(self._check_seconds):
            pass
        if one.stopping.is_set():
            return None
        pause = self._next_pause(one, ran_seconds=time.monotonic() - ready_time)
        self._on_event(Ended(one.part.name, one.part.ending, pause))
        return pause

    def _after_failure(self, one: _Supervised, error: Exception) -> float | None:
        with self._changed:
            if is_lasting(error) and not self._waits_for_lasting_causes:
                self._failure = self._failure or error
                self._changed.notify_all()
                return None
        if not isinstance(error, StartupError | ServerDidNotStart):
            log.error("%s did not start.", one.part.name, exc_info=error)
        pause = self._next_pause(one, ran_seconds=None)
        self._on_event(StartFailed(one.part.name, error, pause))
        return pause

    def _next_pause(self, one: _Supervised, *, ran_seconds: float | None) -> float:
        self._enter(one, Phase.RESTARTING)
        one.failures = self._policy.failures_after(one.failures, ran_seconds)
        return self._policy.pause_after(one.failures)

    def _enter(self, one: _Supervised, phase: Phase) -> None:
        with self._changed:
            if one.phase is phase:
                return
            one.phase = phase
            self._changed.notify_all()
            self._on_phases({name: supervised.phase for name, supervised in self._supervised.items()})

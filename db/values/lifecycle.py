"""The states of extractions and tasks, their transitions, and what follows a failure. Pure.

    extraction   queued → running → succeeded | failed | cancelled        (queued → any end; running → queued)
    task         throttled → ready → leased → done | failed | cancelled   (leased → ready: release, retry, rescue,
                                                                           replan; throttled, ready → cancelled)

Postgres holds the same tables as triggers; a test compares every pair of states on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from db.values.error_catalogue import Fault

LEASE_SECONDS = 60.0
"""How long a task belongs to the worker that has claimed it, from the claim or the last heartbeat on."""
HEARTBEAT_SECONDS = 15.0


class ExtractionStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskState(StrEnum):
    THROTTLED = "throttled"  # its account is at its running limit
    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PausableActivity(StrEnum):
    """What an operator can pause: new uploads and extractions; the start of tasks."""

    ACCEPTING = "accepting"
    CLAIMING = "claiming"


_E, _T = ExtractionStatus, TaskState

EXTRACTION_TRANSITIONS: Mapping[ExtractionStatus, frozenset[ExtractionStatus]] = {
    # queued → succeeded: an existing result is given at once.
    _E.QUEUED: frozenset({_E.RUNNING, _E.SUCCEEDED, _E.FAILED, _E.CANCELLED}),
    # running → queued: released, retried or rescued work waits again.
    _E.RUNNING: frozenset({_E.QUEUED, _E.SUCCEEDED, _E.FAILED, _E.CANCELLED}),
    _E.SUCCEEDED: frozenset(),
    _E.FAILED: frozenset(),
    _E.CANCELLED: frozenset(),
}

TASK_TRANSITIONS: Mapping[TaskState, frozenset[TaskState]] = {
    _T.THROTTLED: frozenset({_T.READY, _T.CANCELLED}),
    _T.READY: frozenset({_T.LEASED, _T.CANCELLED}),
    _T.LEASED: frozenset({_T.READY, _T.DONE, _T.FAILED, _T.CANCELLED}),
    _T.DONE: frozenset(),
    _T.FAILED: frozenset(),
    _T.CANCELLED: frozenset(),
}


def is_terminal(state: ExtractionStatus | TaskState) -> bool:
    """Returns whether the state is final."""
    if isinstance(state, ExtractionStatus):
        return not EXTRACTION_TRANSITIONS[state]
    return not TASK_TRANSITIONS[state]


MAX_CRASHES = 3
"""How often a file may crash or hang the decoder; the last try reads sequentially."""
MAX_LOSSES = 20
"""How often the lease of a task may expire because its worker is gone."""
SERVICE_ERROR_SECONDS = 24 * 3600
"""How long tasks wait for a store or database that is away."""
SERVICE_ERRORS = 20
"""How many tries must have met the outage: time alone ends no task, because nobody may have claimed it meanwhile."""
MAX_CHILD_REPORTS = 20
"""From so many service errors of a task on, another one that only its child reports counts as a crash: a child that was
taken over may report anything. The backoff lets about an hour pass until then."""
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_MAX_SECONDS = 300.0


class Blame(StrEnum):
    """What caused a failure, and so which counter it raises."""

    FILE = "file"  # an error of the catalogue with fault file or request: certain, no retry helps
    CRASH = "crash"  # the child crashed, hung or broke its limits
    SERVICE = "service"  # the store or the database failed
    LOSS = "loss"  # the lease ran out: the worker or its node is gone


@dataclass(frozen=True, slots=True)
class Counters:
    """A task's failures so far, without the present one. service_error_seconds: since the first of the present
    series.
    """

    crashes: int = 0
    losses: int = 0
    service_errors: int = 0
    service_error_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Retry:
    """The task waits and is claimed again after `delay_seconds`."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The task has failed for good, with this code of the catalogue."""

    code: str


def after_failure(blame: Blame, code: str, counters: Counters, jitter: float) -> Retry | GiveUp:
    """Decides what follows a failure. jitter: uniform in [0, 1); it spreads the retries after an outage."""
    match blame:
        case Blame.FILE:
            return GiveUp(code)
        case Blame.CRASH:
            return GiveUp("gave_up") if counters.crashes + 1 >= MAX_CRASHES else Retry(0.0)
        case Blame.LOSS:
            return GiveUp("workers_lost") if counters.losses + 1 > MAX_LOSSES else Retry(0.0)
        case Blame.SERVICE:
            waited = counters.service_error_seconds >= SERVICE_ERROR_SECONDS
            if waited and counters.service_errors + 1 >= SERVICE_ERRORS:
                return GiveUp("service_failed")
            delay = backoff_seconds(
                counters.service_errors, jitter, first_seconds=BACKOFF_FIRST_SECONDS, max_seconds=BACKOFF_MAX_SECONDS
            )
            return Retry(delay)
        case _:
            assert_never(blame)


def is_sequential(crashes: int) -> bool:
    """Returns whether the next try is the last one, which reads sequentially with one thread."""
    return crashes + 1 >= MAX_CRASHES


def blame_of(fault: Fault) -> Blame:
    """Returns what a catalogue error counts against when a worker meets it."""
    return Blame.SERVICE if fault is Fault.SERVICE else Blame.FILE


def blame_of_child_report(service_errors: int) -> Blame:
    """Returns what a service error counts against that only the child reports. service_errors: of its task, so far."""
    return Blame.SERVICE if service_errors < MAX_CHILD_REPORTS else Blame.CRASH


def backoff_seconds(failures: int, jitter: float, *, first_seconds: float, max_seconds: float) -> float:
    """Returns the pause after failure number `failures` + 1: exponential, with equal jitter.

    jitter: uniform in [0, 1). Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """
    ceiling = min(max_seconds, first_seconds * 2.0 ** min(failures, 30))
    return ceiling * (0.5 + jitter / 2)

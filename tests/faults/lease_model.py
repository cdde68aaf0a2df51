"""A small model of the lease protocol, of which every reachable state is checked: `python -m tests.faults.lease_model`.

Workers claim tasks, renew leases, publish and crash. A maintenance process rescues expired leases. Answers of the
database may be lost, and a publication may arrive long after its sender has died. A frozen worker is one that takes no
step for a while. Each rule can be omitted, to show that an invariant breaks without it. The model contains no code of
the product: it shows why the fence is needed, and the mutants show that the product has it.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

TASKS = 2
WORKERS = 2
MAX_CLAIMS = 3
MAX_LOST_ANSWERS = 1


class Rule(StrEnum):
    """The rules of the protocol."""

    FENCE = "the fence: a write names its attempt and its owner"
    COUNT_AT_CLAIM = "attempt + 1 at the claim"
    LEASED_ONLY = "publish only out of the leased state"
    REREAD = "a lost answer is read again by the attempt that asked"
    LATE_ONLY = "rescue only what is late"
    RESCUE = "a late lease is rescued"


class TaskStatus(StrEnum):
    UNSENT = "unsent"
    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    GIVEN_UP = "given up"


ENDS = frozenset({TaskStatus.DONE, TaskStatus.GIVEN_UP})


@dataclass(frozen=True, slots=True)
class Task:
    """claims: the true number of claims. is_late: its lease has expired. publications: number of stored results.
    has_stale_result: one of them is of a lost lease. is_acknowledged: the client has the answer "accepted"."""

    status: TaskStatus = TaskStatus.UNSENT
    attempt: int = 0
    claims: int = 0
    owner: int | None = None
    is_late: bool = False
    publications: int = 0
    has_stale_result: bool = False
    is_acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as its worker knows it. claim: the true number of the claim that gave it."""

    task: int
    attempt: int
    owner: int
    claim: int


@dataclass(frozen=True, slots=True)
class Worker:
    """is_unsure: it published and got no answer."""

    lease: Lease | None = None
    is_unsure: bool = False


@dataclass(frozen=True, slots=True)
class State:
    tasks: tuple[Task, ...] = (Task(),) * TASKS
    workers: tuple[Worker, ...] = (Worker(),) * WORKERS
    in_flight: Lease | None = None
    lost_answers: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """violation: the first broken invariant, None when there is none. steps: the steps that lead to it."""

    states: int
    violation: str | None
    steps: tuple[str, ...] = ()


def check(omitted: Rule | None = None) -> Verdict:
    """Visits every reachable state of the protocol, without the omitted rule."""
    rules = frozenset(Rule) - {omitted}
    initial = State()
    came_from: dict[State, tuple[State, str] | None] = {initial: None}
    queue, successors = deque([initial]), dict[State, list[State]]()
    while queue:
        state = queue.popleft()
        successors[state] = []
        for step, successor in _steps(state, rules):
            successors[state].append(successor)
            if successor in came_from:
                continue
            came_from[successor] = (state, step)
            if violation := _violation(state, successor):
                return Verdict(len(came_from), violation, _path_to(came_from, successor))
            queue.append(successor)
    if stuck_state := _stuck_state(successors):
        return Verdict(len(came_from), "an accepted task can't end any more", _path_to(came_from, stuck_state))
    return Verdict(len(came_from), None)


def _violation(before: State, state: State) -> str | None:
    for old, new in zip(before.tasks, state.tasks, strict=True):
        if new.publications > 1:
            return "two publications of one task"
        if new.has_stale_result:
            return "a stale publication"
        if new.attempt < old.attempt:
            return "an attempt decreased"
        if new.is_acknowledged and new.status is TaskStatus.UNSENT:
            return "an accepted task is missing"
        if old.status in ENDS and new.status is not old.status:
            return "an end was undone"
    return state.error


def _stuck_state(successors: dict[State, list[State]]) -> State | None:
    """A state from which no path leads to the end of all accepted tasks."""
    predecessors: dict[State, list[State]] = {state: [] for state in successors}
    for state, next_states in successors.items():
        for next_state in next_states:
            predecessors[next_state].append(state)
    finishing = {
        state for state in successors if all(task.status in ENDS or not task.is_acknowledged for task in state.tasks)
    }
    queue = deque(finishing)
    while queue:
        for state in predecessors[queue.popleft()]:
            if state not in finishing:
                finishing.add(state)
                queue.append(state)
    return next((state for state in successors if state not in finishing), None)


def _steps(state: State, rules: frozenset[Rule]) -> Iterator[tuple[str, State]]:
    for number, task in enumerate(state.tasks):
        yield from _accept_steps(state, number, task)
        if task.status is TaskStatus.LEASED:
            yield from _lease_steps(state, number, task, rules)
    for number, worker in enumerate(state.workers):
        if worker.lease is None:
            yield from _claim_steps(state, number, rules)
        else:
            yield from _worker_steps(state, number, worker.lease, rules)
    if state.in_flight is not None:
        late = state.in_flight
        arrived = replace(state, in_flight=None)
        if _passes_fence(state.tasks[late.task], late, rules):
            arrived = _after_publication(arrived, late)
        yield f"the dead sender's publication of {late.task} arrives", arrived


def _accept_steps(state: State, number: int, task: Task) -> Iterator[tuple[str, State]]:
    if task.is_acknowledged:
        return
    # With its idempotency key, a repeated call finds the row of the first call.
    row = replace(task, status=TaskStatus.READY) if task.status is TaskStatus.UNSENT else task
    yield f"accept {number}", _with_task(state, number, replace(row, is_acknowledged=True))
    if task.status is TaskStatus.UNSENT and state.lost_answers < MAX_LOST_ANSWERS:
        yield f"accept {number}, answer lost", _with_lost_answer(_with_task(state, number, row))


def _lease_steps(state: State, number: int, task: Task, rules: frozenset[Rule]) -> Iterator[tuple[str, State]]:
    if not task.is_late:
        yield f"the lease of {number} expires", _with_task(state, number, replace(task, is_late=True))
    if Rule.RESCUE not in rules or (Rule.LATE_ONLY in rules and not task.is_late):
        return
    status = TaskStatus.READY if task.claims < MAX_CLAIMS else TaskStatus.GIVEN_UP
    rescued = _with_task(state, number, replace(task, status=status, owner=None, is_late=False))
    is_valid_lease = not task.is_late and any(_has_lease(worker, number, task) for worker in state.workers)
    yield f"rescue {number}", replace(rescued, error="a valid lease was rescued") if is_valid_lease else rescued


def _claim_steps(state: State, number: int, rules: frozenset[Rule]) -> Iterator[tuple[str, State]]:
    for index, task in enumerate(state.tasks):
        if task.status is not TaskStatus.READY:
            continue
        attempt = task.attempt + (1 if Rule.COUNT_AT_CLAIM in rules else 0)
        claimed = replace(task, status=TaskStatus.LEASED, attempt=attempt, claims=task.claims + 1, owner=number)
        leased = _with_task(state, index, claimed)
        lease = Lease(index, attempt, number, claimed.claims)
        yield f"worker {number} claims {index}", _with_worker(leased, number, Worker(lease))
        if state.lost_answers < MAX_LOST_ANSWERS:
            yield f"worker {number} claims {index}, answer lost", _with_lost_answer(leased)


def _worker_steps(state: State, number: int, lease: Lease, rules: frozenset[Rule]) -> Iterator[tuple[str, State]]:
    idle = _with_worker(state, number, Worker())
    yield f"worker {number} crashes", idle
    if state.in_flight is None and not state.workers[number].is_unsure:
        yield f"worker {number} crashes, its publication in flight", replace(idle, in_flight=lease)
    task = state.tasks[lease.task]
    if not _passes_fence(task, lease, rules):
        yield f"worker {number} is refused", _after_refusal(state, number, idle, rules)
        return
    if task.is_late:
        yield f"worker {number} renews {lease.task}", _with_task(state, lease.task, replace(task, is_late=False))
    yield f"worker {number} publishes {lease.task}", _after_publication(idle, lease)
    if state.lost_answers < MAX_LOST_ANSWERS:
        unsure = _with_worker(state, number, Worker(lease, is_unsure=True))
        yield (
            f"worker {number} publishes {lease.task}, answer lost",
            _with_lost_answer(_after_publication(unsure, lease)),
        )


def _after_refusal(state: State, number: int, idle: State, rules: frozenset[Rule]) -> State:
    """The worker discards its result, unless it reads that the result was published."""
    worker = state.workers[number]
    is_discarded = worker.is_unsure and Rule.REREAD not in rules
    return replace(idle, error="a published result was discarded") if is_discarded else idle


def _after_publication(state: State, lease: Lease) -> State:
    task = state.tasks[lease.task]
    is_stale = task.has_stale_result or lease.claim != task.claims
    ended = replace(task, status=TaskStatus.DONE, owner=None, is_late=False)
    published = replace(ended, has_stale_result=is_stale, publications=task.publications + 1)
    return _with_task(state, lease.task, published)


def _passes_fence(task: Task, lease: Lease, rules: frozenset[Rule]) -> bool:
    """Whether a worker's write passes its WHERE clause."""
    is_leased = task.status is TaskStatus.LEASED or Rule.LEASED_ONLY not in rules
    # An ended task has no owner.
    is_same_attempt = task.attempt == lease.attempt and task.owner in {lease.owner, None}
    return is_leased and (is_same_attempt or Rule.FENCE not in rules)


def _has_lease(worker: Worker, number: int, task: Task) -> bool:
    return worker.lease is not None and (worker.lease.task, worker.lease.claim) == (number, task.claims)


def _with_task(state: State, number: int, task: Task) -> State:
    return replace(state, tasks=(*state.tasks[:number], task, *state.tasks[number + 1 :]))


def _with_worker(state: State, number: int, worker: Worker) -> State:
    return replace(state, workers=(*state.workers[:number], worker, *state.workers[number + 1 :]))


def _with_lost_answer(state: State) -> State:
    return replace(state, lost_answers=state.lost_answers + 1)


def _path_to(came_from: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps: list[str] = []
    while (previous := came_from[state]) is not None:
        state, step = previous
        steps.append(step)
    return tuple(reversed(steps))


def main() -> int:
    """Prints the verdict of the protocol and of each variant without one rule.

    Returns 1 when the protocol breaks an invariant, or when a variant breaks none.
    """
    protocol = check()
    print(f"the protocol: {protocol.states:,} states, {protocol.violation or 'no invariant is broken'}")
    error = protocol.violation is not None
    for rule in Rule:
        variant = check(rule)
        print(f"without {rule.value}: {variant.violation or 'no invariant is broken'}: {'; '.join(variant.steps)}")
        error = error or variant.violation is None
    return int(error)


if __name__ == "__main__":
    sys.exit(main())

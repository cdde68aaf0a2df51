"""The lease protocol as a small model whose every reachable state is visited: `python -m tests.faults.lease_model`.

Workers claim tasks, beat, publish and crash; a maintenance process rescues; answers of the database may be lost, and
a publication may arrive long after its sender has died. A frozen worker is one that takes no step for a while. A
rule is left out at will, to see that the invariants notice it. Nothing here is the product's code: the
model says what the fence is for, the mutants beside it say that the code has it.
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
    """What the protocol keeps to."""

    FENCE = "the fence: a write names its attempt and its owner"
    COUNT_AT_CLAIM = "attempt + 1 at the claim"
    LEASED_ONLY = "publish only out of the leased state"
    REREAD = "a lost answer is read again by the attempt that asked"
    LATE_ONLY = "rescue only what is late"
    RESCUE = "a late lease is rescued"


class Place(StrEnum):
    UNSENT = "unsent"
    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    GIVEN_UP = "given up"


ENDS = frozenset({Place.DONE, Place.GIVEN_UP})


@dataclass(frozen=True, slots=True)
class Task:
    """claims: how often it was claimed, in truth. is_late: its lease has run out. publications: results taken, stale:
    whether one was of a lost lease. told: the client knows that it is accepted."""

    place: Place = Place.UNSENT
    attempt: int = 0
    claims: int = 0
    owner: int | None = None
    is_late: bool = False
    publications: int = 0
    stale: bool = False
    told: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """What a worker believes to have. claim: which claim gave it, in truth."""

    task: int
    attempt: int
    owner: int
    claim: int


@dataclass(frozen=True, slots=True)
class Worker:
    """is_unsure: it published and heard no answer."""

    lease: Lease | None = None
    is_unsure: bool = False


@dataclass(frozen=True, slots=True)
class State:
    tasks: tuple[Task, ...] = (Task(),) * TASKS
    workers: tuple[Worker, ...] = (Worker(),) * WORKERS
    on_the_way: Lease | None = None
    lost_answers: int = 0
    wrong: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """violation: the first broken invariant, with the steps that lead to it; None when all hold."""

    states: int
    violation: str | None
    steps: tuple[str, ...] = ()


def check(left_out: Rule | None = None) -> Verdict:
    """Visits every reachable state."""
    rules = frozenset(Rule) - {left_out}
    first = State()
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    queue, after = deque([first]), dict[State, list[State]]()
    while queue:
        state = queue.popleft()
        after[state] = []
        for step, following in _steps(state, rules):
            after[state].append(following)
            if following in came_from:
                continue
            came_from[following] = (state, step)
            if broken := _broken(state, following):
                return Verdict(len(came_from), broken, _way(came_from, following))
            queue.append(following)
    if stuck := _without_an_end(after):
        return Verdict(len(came_from), "an accepted task can't end any more", _way(came_from, stuck))
    return Verdict(len(came_from), None)


def _broken(before: State, state: State) -> str | None:
    for old, new in zip(before.tasks, state.tasks, strict=True):
        if new.publications > 1:
            return "two publications of one task"
        if new.stale:
            return "a stale publication"
        if new.attempt < old.attempt:
            return "an attempt fell"
        if new.told and new.place is Place.UNSENT:
            return "an accepted task is missing"
        if old.place in ENDS and new.place is not old.place:
            return "an end was undone"
    return state.wrong


def _without_an_end(after: dict[State, list[State]]) -> State | None:
    """A state from which no path leads to the end of everything accepted."""
    before: dict[State, list[State]] = {state: [] for state in after}
    for state, followers in after.items():
        for follower in followers:
            before[follower].append(state)
    good = {state for state in after if all(task.place in ENDS or not task.told for task in state.tasks)}
    queue = deque(good)
    while queue:
        for state in before[queue.popleft()]:
            if state not in good:
                good.add(state)
                queue.append(state)
    return next((state for state in after if state not in good), None)


def _steps(state: State, rules: frozenset[Rule]) -> Iterator[tuple[str, State]]:
    for number, task in enumerate(state.tasks):
        yield from _accepts(state, number, task)
        if task.place is Place.LEASED:
            yield from _expires(state, number, task, rules)
    for number, worker in enumerate(state.workers):
        if worker.lease is None:
            yield from _claims(state, number, rules)
        else:
            yield from _works(state, number, worker.lease, rules)
    if state.on_the_way is not None:
        late = state.on_the_way
        arrived = replace(state, on_the_way=None)
        if _passes(state.tasks[late.task], late, rules):
            arrived = _published(arrived, late)
        yield f"the dead sender's publication of {late.task} arrives", arrived


def _accepts(state: State, number: int, task: Task) -> Iterator[tuple[str, State]]:
    if task.told:
        return
    # The key lets a repeated call find the row of the first one.
    row = replace(task, place=Place.READY) if task.place is Place.UNSENT else task
    yield f"accept {number}", _with_task(state, number, replace(row, told=True))
    if task.place is Place.UNSENT and state.lost_answers < MAX_LOST_ANSWERS:
        yield f"accept {number}, answer lost", _lost(_with_task(state, number, row))


def _expires(state: State, number: int, task: Task, rules: frozenset[Rule]) -> Iterator[tuple[str, State]]:
    if not task.is_late:
        yield f"the lease of {number} runs out", _with_task(state, number, replace(task, is_late=True))
    if Rule.RESCUE not in rules or (Rule.LATE_ONLY in rules and not task.is_late):
        return
    place = Place.READY if task.claims < MAX_CLAIMS else Place.GIVEN_UP
    rescued = _with_task(state, number, replace(task, place=place, owner=None, is_late=False))
    robbed = not task.is_late and any(_holds(worker, number, task) for worker in state.workers)
    yield f"rescue {number}", replace(rescued, wrong="a living worker was robbed") if robbed else rescued


def _claims(state: State, number: int, rules: frozenset[Rule]) -> Iterator[tuple[str, State]]:
    for index, task in enumerate(state.tasks):
        if task.place is not Place.READY:
            continue
        attempt = task.attempt + (1 if Rule.COUNT_AT_CLAIM in rules else 0)
        claimed = replace(task, place=Place.LEASED, attempt=attempt, claims=task.claims + 1, owner=number)
        leased = _with_task(state, index, claimed)
        lease = Lease(index, attempt, number, claimed.claims)
        yield f"worker {number} claims {index}", _with_worker(leased, number, Worker(lease))
        if state.lost_answers < MAX_LOST_ANSWERS:
            yield f"worker {number} claims {index}, answer lost", _lost(leased)


def _works(state: State, number: int, lease: Lease, rules: frozenset[Rule]) -> Iterator[tuple[str, State]]:
    idle = _with_worker(state, number, Worker())
    yield f"worker {number} crashes", idle
    if state.on_the_way is None and not state.workers[number].is_unsure:
        yield f"worker {number} crashes, its publication on the way", replace(idle, on_the_way=lease)
    task = state.tasks[lease.task]
    if not _passes(task, lease, rules):
        yield f"worker {number} is refused", _refused(state, number, idle, rules)
        return
    if task.is_late:
        yield f"worker {number} renews {lease.task}", _with_task(state, lease.task, replace(task, is_late=False))
    yield f"worker {number} publishes {lease.task}", _published(idle, lease)
    if state.lost_answers < MAX_LOST_ANSWERS:
        unsure = _with_worker(state, number, Worker(lease, is_unsure=True))
        yield f"worker {number} publishes {lease.task}, answer lost", _lost(_published(unsure, lease))


def _refused(state: State, number: int, idle: State, rules: frozenset[Rule]) -> State:
    """The worker throws away what it made, unless it reads that it had been taken."""
    worker = state.workers[number]
    throws_away = worker.is_unsure and Rule.REREAD not in rules
    return replace(idle, wrong="a published result was thrown away") if throws_away else idle


def _published(state: State, lease: Lease) -> State:
    task = state.tasks[lease.task]
    is_stale = task.stale or lease.claim != task.claims
    ended = replace(task, place=Place.DONE, owner=None, is_late=False)
    done = replace(ended, stale=is_stale, publications=task.publications + 1)
    return _with_task(state, lease.task, done)


def _passes(task: Task, lease: Lease, rules: frozenset[Rule]) -> bool:
    """The WHERE of a worker's write."""
    is_leased = task.place is Place.LEASED or Rule.LEASED_ONLY not in rules
    # An ended task has no owner any more.
    is_mine = task.attempt == lease.attempt and task.owner in {lease.owner, None}
    return is_leased and (is_mine or Rule.FENCE not in rules)


def _holds(worker: Worker, number: int, task: Task) -> bool:
    return worker.lease is not None and (worker.lease.task, worker.lease.claim) == (number, task.claims)


def _with_task(state: State, number: int, task: Task) -> State:
    return replace(state, tasks=(*state.tasks[:number], task, *state.tasks[number + 1 :]))


def _with_worker(state: State, number: int, worker: Worker) -> State:
    return replace(state, workers=(*state.workers[:number], worker, *state.workers[number + 1 :]))


def _lost(state: State) -> State:
    return replace(state, lost_answers=state.lost_answers + 1)


def _way(came_from: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps: list[str] = []
    while (came := came_from[state]) is not None:
        state, step = came
        steps.append(step)
    return tuple(reversed(steps))


def main() -> int:
    """Prints what each variant of the protocol leads to; 1 when the whole one is broken or a mutant holds."""
    whole = check()
    print(f"the protocol: {whole.states:,} states, {whole.violation or 'every invariant holds'}")
    wrong = whole.violation is not None
    for rule in Rule:
        mutant = check(rule)
        print(f"without {rule.value}: {mutant.violation or 'every invariant holds'}: {'; '.join(mutant.steps)}")
        wrong = wrong or mutant.violation is None
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())

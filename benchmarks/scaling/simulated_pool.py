"""A pool of workers that takes the tasks of a day; one event after the other."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from actors.scaling.replica_decision import Decision, Demand, Reason, ScalingLimits, decide
from benchmarks.scaling.day_of_traffic import Traffic

CONTROL_SECONDS = 1.0
START_SECONDS = (45.0, 120.0)
"""From the demand for a worker to its first claim: a node has to come, and its image."""


@dataclass(slots=True)
class Outcome:
    """waits: from arrival to claim, in seconds, by arrival. worker_seconds: of all workers, from the demand to the end.
    changes: how often the number of workers rose and fell.
    """

    waits: npt.NDArray[np.float64]
    worker_seconds: float
    peak_workers: int
    changes: tuple[int, int]


@dataclass(slots=True)
class SimulatedQueue:
    """The ready tasks, in the order of their arrival."""

    traffic: Traffic
    ready: deque[int] = field(default_factory=deque)
    ready_seconds: float = 0.0

    def add(self, task: int) -> None:
        self.ready.append(task)
        self.ready_seconds += float(self.traffic.estimates[task])

    def take(self) -> int | None:
        if not self.ready:
            return None
        task = self.ready.popleft()
        self.ready_seconds -= float(self.traffic.estimates[task])
        return task

    def waited(self, now: float) -> float:
        """Of the oldest."""
        return now - float(self.traffic.arrivals[self.ready[0]]) if self.ready else 0.0

    def demand(self, now: float, running: int) -> Demand:
        return Demand(len(self.ready), max(0.0, self.ready_seconds), self.waited(now), running, now)


@dataclass(slots=True)
class SimulatedPool:
    """Workers by their number. A worker that is asked to stop finishes its task.

    As Serve does, the pool stops starting workers first, and then any other, busy or not. arrivals: of the tasks. take:
    gives an idle worker a task at a time. seconds: how long a worker of the pool takes for a task.
    """

    arrivals: npt.NDArray[np.float64]
    randomness: random.Random
    take: Callable[[float], int | None]
    seconds: Callable[[int], float]
    idle: list[int] = field(default_factory=list)
    busy: list[int] = field(default_factory=list)
    stopping: set[int] = field(default_factory=set)
    starting: set[int] = field(default_factory=set)
    born: dict[int, float] = field(default_factory=dict)
    events: list[tuple[float, int, bool]] = field(default_factory=list)
    """Time, worker, whether it is the worker's start; otherwise the end of its task."""
    place: dict[int, int] = field(default_factory=dict)
    """Of each busy worker in `busy`."""
    worker_seconds: float = 0.0
    workers_ever: int = 0

    @property
    def target(self) -> int:
        return len(self.starting) + len(self.idle) + len(self.busy) - len(self.stopping)

    def scale(self, target: int, now: float, start_seconds: tuple[float, float]) -> None:
        for _ in range(target - self.target):
            worker, self.workers_ever = self.workers_ever, self.workers_ever + 1
            self.born[worker] = now
            self.starting.add(worker)
            heapq.heappush(self.events, (now + self.randomness.uniform(*start_seconds), worker, True))
        for _ in range(self.target - target):
            if self.starting:
                self._end(self.starting.pop(), now)
            elif self.randomness.random() * (len(self.idle) + len(self.busy) - len(self.stopping)) < len(self.idle):
                self._end(self.idle.pop(self.randomness.randrange(len(self.idle))), now)
            else:
                self.stopping.add(self._any_busy())

    def run_until(self, now: float, waits: npt.NDArray[np.float64]) -> None:
        """Carries out all events up to now."""
        while self.events and self.events[0][0] <= now:
            self.run_next(waits)

    def run_next(self, waits: npt.NDArray[np.float64]) -> None:
        """Carries out the next event."""
        at, worker, is_start = heapq.heappop(self.events)
        if is_start:
            if worker not in self.starting:
                return
            self.starting.remove(worker)
        else:
            self._leave_busy(worker)
            if worker in self.stopping:
                self.stopping.remove(worker)
                self._end(worker, at)
                return
        self.idle.append(worker)
        self.claim(at, waits)

    def claim(self, now: float, waits: npt.NDArray[np.float64]) -> None:
        """Gives ready tasks to idle workers."""
        while self.idle and (task := self.take(now)) is not None:
            worker = self.idle.pop()
            waits[task] = now - self.arrivals[task]
            self.place[worker] = len(self.busy)
            self.busy.append(worker)
            heapq.heappush(self.events, (now + self.seconds(task), worker, False))

    def _leave_busy(self, worker: int) -> None:
        place, last = self.place.pop(worker), self.busy.pop()
        if last != worker:
            self.busy[place], self.place[last] = last, place

    def _any_busy(self) -> int:
        while (worker := self.randomness.choice(self.busy)) in self.stopping:
            pass
        return worker

    def _end(self, worker: int, now: float) -> None:
        self.worker_seconds += now - self.born.pop(worker)


def simulate(traffic: Traffic, limits: ScalingLimits, *, seed: int) -> Outcome:
    """The pool scales by the decision, every second. It starts with the fewest workers."""
    return _simulate(traffic, next_target_of(limits), seed=seed, start_seconds=START_SECONDS)


def next_target_of(limits: ScalingLimits) -> Callable[[Demand], int]:
    """The decisions of a pool, one after the other."""
    decision = Decision(limits.min_workers, Reason.STABLE)

    def next_target(demand: Demand) -> int:
        nonlocal decision
        decision = decide(
            demand, limits, workers=decision.workers, now=demand.taken_at, earlier=decision.recommendations
        )
        return decision.workers

    return next_target


def simulate_fixed(traffic: Traffic, workers: int, *, seed: int) -> Outcome:
    """As many workers all day, which are there from the beginning."""
    return _simulate(traffic, lambda demand: workers, seed=seed, start_seconds=(0.0, 0.0))


def _simulate(
    traffic: Traffic, next_target: Callable[[Demand], int], *, seed: int, start_seconds: tuple[float, float]
) -> Outcome:
    queue = SimulatedQueue(traffic)
    pool = SimulatedPool(
        traffic.arrivals, random.Random(seed), lambda now: queue.take(), lambda task: float(traffic.work[task])
    )
    waits = np.full(len(traffic.arrivals), np.nan)
    arrived, now, peak, rises, falls = 0, 0.0, 0, 0, 0
    while arrived < len(waits) or queue.ready or pool.busy:
        before, target = pool.target, next_target(queue.demand(now, len(pool.busy)))
        rises, falls = rises + (target > before), falls + (target < before)
        pool.scale(target, now, start_seconds)
        peak, now = max(peak, target), now + CONTROL_SECONDS
        while arrived < len(waits) and traffic.arrivals[arrived] < now:
            pool.run_until(float(traffic.arrivals[arrived]), waits)
            queue.add(arrived)
            pool.claim(float(traffic.arrivals[arrived]), waits)
            arrived += 1
        pool.run_until(now, waits)
    pool.worker_seconds += sum(now - born for born in pool.born.values())
    return Outcome(waits, pool.worker_seconds, peak, (rises, falls))

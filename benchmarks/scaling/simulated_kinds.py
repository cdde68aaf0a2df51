"""Two pools, for CPUs and GPUs, on one queue: big work is left to GPU workers for a minute.

How much faster a GPU is, and what it costs, are assumptions: nothing was measured on one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actors.scaling.demand_watch import demand_of
from actors.scaling.replica_decision import Demand, ScalingLimits
from benchmarks.scaling.day_of_traffic import Traffic
from benchmarks.scaling.simulated_pool import (
    CONTROL_SECONDS,
    START_SECONDS,
    SimulatedPool,
    SimulatedQueue,
    next_target_of,
)
from db.queue.queue_demand import QueueDemand
from db.values.worker_kind import WorkerKind, may_claim

GPU_SPEED = 4.0
"""How many CPU workers decode as much big work as one GPU worker."""
GPU_PRICE = 6.0
"""Of an hour of a GPU worker, in hours of a CPU worker."""
BIG_SECONDS = 60.0
"""What the queue takes for the work of a video from `GPU_WORK_BYTES` on, on one core."""

Seconds = tuple[float, float]
NextTarget = Callable[[Demand], int]
KINDS = tuple(WorkerKind)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """How a pool gets its workers. start_seconds: from the demand for a worker to its first claim, at least and at
    most; None when no node comes, and then nothing is paid for.
    """

    next_target: NextTarget
    start_seconds: Seconds | None = START_SECONDS


@dataclass(slots=True)
class KindsOutcome:
    """waits, ends: from arrival to claim and to end, in seconds, by arrival. worker_seconds: of each kind."""

    waits: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]
    worker_seconds: Mapping[WorkerKind, float]

    @property
    def cost(self) -> float:
        """In seconds of a CPU worker."""
        return self.worker_seconds[WorkerKind.CPU] + GPU_PRICE * self.worker_seconds[WorkerKind.GPU]


def are_big(traffic: Traffic) -> npt.NDArray[np.bool_]:
    """Which tasks prefer a GPU: the queue knows estimates only."""
    return traffic.estimates >= BIG_SECONDS


def ideal_cost(traffic: Traffic) -> float:
    """That of a worker at once for each task, of the cheaper kind; in seconds of a CPU worker."""
    big = are_big(traffic)
    return float(traffic.work[~big].sum() + traffic.work[big].sum() * min(1.0, GPU_PRICE / GPU_SPEED))


def scaling(max_workers: int, start_seconds: Seconds | None = START_SECONDS) -> PoolPlan:
    """A pool that scales from 0 by the decision, every second."""
    return PoolPlan(next_target_of(ScalingLimits(0, max_workers)), start_seconds)


def fixed(workers: int) -> PoolPlan:
    """As many workers all day, which are there from the beginning."""
    return PoolPlan(lambda demand: workers, (0.0, 0.0))


class KindsQueue:
    """The ready tasks: those for any worker, big ones that are left to GPU workers, and big ones that were passed on.
    taken_by: the kind of the worker that took each task.
    """

    def __init__(self, traffic: Traffic, *, gpu_exists: bool) -> None:
        self._big, self._gpu_exists = are_big(traffic), gpu_exists
        self.taken_by: dict[int, WorkerKind] = {}
        self.other, self.left, self.passed_on = (SimulatedQueue(traffic) for _ in range(3))

    def __len__(self) -> int:
        return sum(len(queue.ready) for queue in (self.other, self.left, self.passed_on))

    def add(self, task: int) -> None:
        (self.left if self._big[task] and self._gpu_exists else self.other).add(task)

    def pass_on(self, now: float) -> None:
        """Lets CPU workers have what has waited for a GPU for long enough."""
        while self.left.ready and may_claim(
            WorkerKind.CPU, WorkerKind.GPU, waited_seconds=self.left.waited(now), gpu_exists=self._gpu_exists
        ):
            task = self.left.take()
            assert task is not None
            self.passed_on.add(task)

    def take(self, kind: WorkerKind, now: float) -> int | None:
        self.pass_on(now)
        order = [self.other, self.passed_on]
        if kind is WorkerKind.GPU:
            order = [self.passed_on, self.left, self.other]
        elif self.passed_on.waited(now) > self.other.waited(now):
            order.reverse()
        task = next((task for queue in order if (task := queue.take()) is not None), None)
        if task is not None:
            self.taken_by[task] = kind
        return task

    def demand(self, kind: WorkerKind, now: float, running: int) -> Demand:
        """What the queue asks of a pool."""
        self.pass_on(now)
        queues = (self.left,) if kind is WorkerKind.GPU else (self.other, self.passed_on)
        found = QueueDemand(
            ready=sum(len(queue.ready) for queue in queues),
            ready_seconds=sum(max(0.0, queue.ready_seconds) for queue in queues),
            oldest_seconds=max(queue.waited(now) for queue in queues),
            running=running,
            passed_on=len(self.passed_on.ready) if kind is WorkerKind.GPU else 0,
        )
        return demand_of(found, now)


class SimulatedKinds:
    """A day of both pools. Without a plan for GPUs there is one pool, and no work is left to another."""

    def __init__(self, traffic: Traffic, plans: Mapping[WorkerKind, PoolPlan], *, seed: int) -> None:
        self._traffic, self._plans = traffic, plans
        self._queue = KindsQueue(traffic, gpu_exists=WorkerKind.GPU in plans)
        self._big = are_big(traffic)
        self._waits = np.full(len(traffic.arrivals), np.nan)
        randomness = random.Random(seed)
        self._pools = {kind: self._pool(kind, randomness) for kind in plans}

    def _pool(self, kind: WorkerKind, randomness: random.Random) -> SimulatedPool:
        return SimulatedPool(
            self._traffic.arrivals,
            randomness,
            lambda now: self._queue.take(kind, now),
            lambda task: self._seconds(kind, task),
        )

    def _seconds(self, kind: WorkerKind, task: int) -> float:
        is_faster = kind is WorkerKind.GPU and self._big[task]
        return float(self._traffic.work[task]) / (GPU_SPEED if is_faster else 1)

    def run(self) -> KindsOutcome:
        arrivals, arrived, now = self._traffic.arrivals, 0, 0.0
        while arrived < len(arrivals) or len(self._queue) or any(pool.busy for pool in self._pools.values()):
            self._scale(now)
            now += CONTROL_SECONDS
            while arrived < len(arrivals) and arrivals[arrived] < now:
                self._run_until(float(arrivals[arrived]))
                self._queue.add(arrived)
                self._claim(float(arrivals[arrived]))
                arrived += 1
            self._run_until(now)
            # What is passed on by its age alone.
            self._claim(now)
        taken_by = self._queue.taken_by
        durations = np.array([self._seconds(taken_by[task], task) for task in range(len(arrivals))])
        worker_seconds = {kind: self._worker_seconds(kind, now) for kind in KINDS}
        return KindsOutcome(self._waits, self._waits + durations, worker_seconds)

    def _scale(self, now: float) -> None:
        for kind, plan in self._plans.items():
            pool = self._pools[kind]
            if plan.start_seconds is not None:
                target = plan.next_target(self._queue.demand(kind, now, len(pool.busy)))
                pool.scale(target, now, plan.start_seconds)

    def _claim(self, now: float) -> None:
        for pool in self._pools.values():
            pool.claim(now, self._waits)

    def _run_until(self, now: float) -> None:
        """Carries out the events of both pools in the order of their time."""
        while coming := [pool for pool in self._pools.values() if pool.events and pool.events[0][0] <= now]:
            min(coming, key=lambda pool: pool.events[0][0]).run_next(self._waits)

    def _worker_seconds(self, kind: WorkerKind, now: float) -> float:
        pool = self._pools.get(kind)
        return 0.0 if pool is None else pool.worker_seconds + sum(now - born for born in pool.born.values())

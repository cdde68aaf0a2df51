"""A day of traffic for pools of 10 to 5,000 workers: `python -m benchmarks.scaling [--workers 10 100 1000 5000]`.

Beside the scaling pool: a fixed pool of as many workers as it may have, one a quarter larger than the mean load,
and the ideal, a worker at once for each task. With --kinds, of two pools: big work is left to GPU workers for a minute.
Nothing is measured: the simulation is the same on any machine.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence

import numpy as np

from actors.scaling.replica_decision import ScalingLimits
from benchmarks.scaling.day_of_traffic import DAY_SECONDS, Traffic, make_traffic
from benchmarks.scaling.simulated_kinds import (
    GPU_PRICE,
    GPU_SPEED,
    KindsOutcome,
    PoolPlan,
    SimulatedKinds,
    are_big,
    fixed,
    ideal_cost,
    scaling,
)
from benchmarks.scaling.simulated_pool import Outcome, simulate, simulate_fixed
from db.values.worker_kind import WorkerKind

HEADER = ("at most", "pool", "waiting, median", "95 %", "99 %", "longest", "worker hours", "of ideal", "rises, falls")

KINDS_HEADER = (
    *("CPU, GPU at most", "pools", "big work waits", "big work ends", "other work waits"),
    *("hours: CPU, GPU", "cost", "of ideal"),
)
GPU_SHARE = 10
"""One GPU worker for so many CPU workers, as in the overlay `gpu`."""
LATE_SECONDS = (180.0, 360.0)


def rows(max_workers: int, seed: int) -> Iterator[Sequence[str]]:
    """The rows of one size of pool."""
    traffic = make_traffic(max_workers, seed)
    busy_seconds = float(traffic.work.sum())
    mean = max(1, math.ceil(1.25 * busy_seconds / DAY_SECONDS))
    yield (str(max_workers), "ideal", "0", "0", "0", "0", f"{busy_seconds / 3600:,.0f}", "1.00", "")
    limits = ScalingLimits(0, max_workers)
    yield _row(max_workers, "scaling from 0", traffic, simulate(traffic, limits, seed=seed))
    few = ScalingLimits(max(1, max_workers // 50), max_workers)
    yield _row(max_workers, f"scaling from {few.min_workers}", traffic, simulate(traffic, few, seed=seed))
    for workers in (mean, max_workers):
        outcome = simulate_fixed(traffic, workers, seed=seed)
        yield _row(max_workers, f"fixed, {workers:,}", traffic, outcome)


def _row(max_workers: int, name: str, traffic: Traffic, outcome: Outcome) -> Sequence[str]:
    waits = [*np.percentile(outcome.waits, [50, 95, 99]), outcome.waits.max()]
    share = outcome.worker_seconds / float(traffic.work.sum())
    changes = "" if name.startswith("fixed") else ", ".join(map(str, outcome.changes))
    hours = f"{outcome.worker_seconds / 3600:,.0f}"
    return (str(max_workers), name, *(f"{wait:,.0f}" for wait in waits), hours, f"{share:.2f}", changes)


def kinds_rows(max_workers: int, seed: int) -> Iterator[Sequence[str]]:
    """The rows of one size of both pools."""
    traffic, gpus = make_traffic(max_workers, seed), max(1, max_workers // GPU_SHARE)
    ideal, size = ideal_cost(traffic), f"{max_workers:,}, {gpus:,}"
    yield (size, "ideal", "0, 0, 0, 0", "", "0, 0, 0, 0", "", f"{ideal / 3600:,.0f}", "1.00")
    for name, plans in _kinds_plans(traffic, max_workers, gpus):
        outcome = SimulatedKinds(traffic, plans, seed=seed).run()
        yield (size, name, *_kinds_figures(traffic, outcome), f"{outcome.cost / ideal:.2f}")


def _kinds_plans(traffic: Traffic, cpus: int, gpus: int) -> Iterator[tuple[str, dict[WorkerKind, PoolPlan]]]:
    """The pools that are compared. A day of one begins anew each time: a plan remembers its decisions."""
    cpu, gpu = WorkerKind.CPU, WorkerKind.GPU
    yield "scaling from 0", {cpu: scaling(cpus), gpu: scaling(gpus)}
    yield "scaling, GPU nodes come in 3 to 6 min", {cpu: scaling(cpus), gpu: scaling(gpus, LATE_SECONDS)}
    yield "scaling, no GPU node comes", {cpu: scaling(cpus), gpu: scaling(gpus, None)}
    yield "scaling, without GPU pool", {cpu: scaling(cpus)}
    big = are_big(traffic)
    mean_cpus = max(1, math.ceil(1.25 * float(traffic.work[~big].sum()) / DAY_SECONDS))
    mean_gpus = max(1, math.ceil(1.25 * float(traffic.work[big].sum()) / GPU_SPEED / DAY_SECONDS))
    for cpu_workers, gpu_workers in ((mean_cpus, mean_gpus), (cpus, gpus)):
        yield f"fixed, {cpu_workers:,} and {gpu_workers:,}", {cpu: fixed(cpu_workers), gpu: fixed(gpu_workers)}


def _kinds_figures(traffic: Traffic, outcome: KindsOutcome) -> Iterator[str]:
    big = are_big(traffic)
    for seconds in (outcome.waits[big], outcome.ends[big], outcome.waits[~big]):
        yield ", ".join(f"{each:,.0f}" for each in [*np.percentile(seconds, [50, 95, 99]), seconds.max()])
    yield ", ".join(f"{outcome.worker_seconds[kind] / 3600:,.0f}" for kind in (WorkerKind.CPU, WorkerKind.GPU))
    yield f"{outcome.cost / 3600:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000, 5000])
    parser.add_argument("--seed", type=int, default=1)
    kinds_help = f"two pools; a GPU is {GPU_SPEED:g} times as fast and {GPU_PRICE:g} times as expensive"
    parser.add_argument("--kinds", action="store_true", help=kinds_help)
    arguments = parser.parse_args()
    header, rows_of = (KINDS_HEADER, kinds_rows) if arguments.kinds else (HEADER, rows)
    print(f"| {' | '.join(header)} |\n| {' | '.join('---' for _ in header)} |")
    for max_workers in arguments.workers:
        for row in rows_of(max_workers, arguments.seed):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()

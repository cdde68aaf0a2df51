"""A day of traffic for pools of 10 to 5,000 workers: `python -m benchmarks.scaling [--workers 10 100 1000 5000]`.

Beside the scaling pool: a fixed pool of as many workers as it may have, one a quarter larger than the mean load,
and the ideal, a worker at once for each task. Nothing is measured: the simulation is the same on any machine.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence

import numpy as np

from actors.scaling.replica_decision import ScalingLimits
from benchmarks.scaling.day_of_traffic import DAY_SECONDS, Traffic, make_traffic
from benchmarks.scaling.simulated_pool import Outcome, simulate, simulate_fixed

HEADER = ("at most", "pool", "waiting, median", "95 %", "99 %", "longest", "worker hours", "of ideal", "rises, falls")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000, 5000])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"| {' | '.join(HEADER)} |\n| {' | '.join('---' for _ in HEADER)} |")
    for max_workers in arguments.workers:
        for row in rows(max_workers, arguments.seed):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()

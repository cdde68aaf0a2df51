"""A day of tasks: the load follows the hours, and folders of videos come at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DAY_SECONDS = 86_400
MEAN_TASK_SECONDS = 40.0
TASK_SPREAD = 1.2
"""Of the logarithm: half of the tasks take less than 20 s, one of twenty more than 140 s."""
MAX_TASK_SECONDS = 300.0
"""Longer work is split into segments."""
ESTIMATE_SPREAD = 0.4
"""Of the logarithm: two of three estimates are between 0.67 and 1.5 times the real work."""
MEAN_LOAD = 0.25
"""Busy workers of all that there may be, on average, without the bursts."""
BURSTS, BURST_TASKS_PER_WORKER = 12, 2.0
"""How often in a day many videos come at once, and how many, for each worker that there may be."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Tasks by their arrival, in seconds: arrays of one length. estimates: what the queue takes their work for."""

    arrivals: npt.NDArray[np.float64]
    work: npt.NDArray[np.float64]
    estimates: npt.NDArray[np.float64]


def make_traffic(max_workers: int, seed: int) -> Traffic:
    """A day for a pool of at most so many workers."""
    random = np.random.default_rng(seed)
    mean_rate = MEAN_LOAD * max_workers / MEAN_TASK_SECONDS
    # Little at night, most in the afternoon: the rate of each minute.
    minutes = np.arange(DAY_SECONDS // 60)
    shape = 1 - np.cos(2 * np.pi * (minutes / len(minutes) - 0.1))
    counts = random.poisson(60 * mean_rate * shape / shape.mean())
    steady = np.repeat(minutes * 60.0, counts) + random.uniform(0, 60, counts.sum())
    burst_sizes = random.poisson(BURST_TASKS_PER_WORKER * max_workers, BURSTS)
    bursts = np.repeat(random.uniform(0, DAY_SECONDS - 3600, BURSTS), burst_sizes)
    arrivals = np.sort(np.concatenate([steady, bursts]))
    mean_of_log = np.log(MEAN_TASK_SECONDS) - TASK_SPREAD**2 / 2
    work = np.minimum(random.lognormal(mean_of_log, TASK_SPREAD, len(arrivals)), MAX_TASK_SECONDS)
    return Traffic(arrivals, work, work * random.lognormal(0, ESTIMATE_SPREAD, len(arrivals)))

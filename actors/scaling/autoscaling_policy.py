"""Serve's autoscaling policy for the pool: asks the queue how many workers are needed.

Serve stores the class by value and makes one object of it in its controller; what it imports is found there as modules.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.scaling.demand_watch import DemandWatch
from actors.scaling.replica_decision import Bounds, Decision, Reason, ScalingLimits, decide

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

    from actors.scaling.fall_back_watch import FallBackWatch

log = logging.getLogger("ray.serve")


class WorkerScalingPolicy:
    """bounds: of the deployment; what an operator has ordered goes before them. wait_seconds, idle_seconds: as in
    ScalingLimits. fall_back: asks for other nodes when those of the workers do not come. clock: that of the watch.
    """

    def __init__(
        self,
        watch: DemandWatch,
        *,
        bounds: Bounds,
        wait_seconds: float,
        idle_seconds: float,
        fall_back: FallBackWatch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fall_back = fall_back
        self._watch, self._bounds, self._clock = watch, bounds, clock
        self._wait_seconds, self._idle_seconds = wait_seconds, idle_seconds
        self._decision: Decision | None = None

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """Returns the number of replicas that Serve aims at. Never blocks and never raises for want of data."""
        # Not in __init__: only Serve's controller calls the policy.
        if self._fall_back is not None:
            self._fall_back.start()
        demand, orders = self._watch.demand, self._watch.orders
        bounds = self._bounds.ordered(orders.limits.min_workers, orders.limits.max_workers).scaled(_share_of(context))
        limits = ScalingLimits(
            bounds.min_workers, bounds.max_workers, self._wait_seconds, self._idle_seconds, orders.is_paused
        )
        workers = context.target_num_replicas
        decision = decide(
            demand,
            limits,
            workers=workers,
            now=self._clock(),
            earlier=self._decision.recommendations if self._decision else (),
        )
        if decision.workers != workers:
            log.info("The pool goes from %d to %d workers: %s.", workers, decision.workers, decision.reason)
        elif decision.reason is Reason.STALE and (self._decision is None or self._decision.reason is not Reason.STALE):
            log.warning("The pool stays at %d workers: the queue can't be read.", workers)
        self._decision = decision
        return decision.workers, {}


def _share_of(context: AutoscalingContext) -> float:
    """The share of the capacity: below 1 while Serve moves an application to another cluster step by step."""
    return 1.0 if context.config is None else context.capacity_adjusted_max_replicas / context.config.max_replicas

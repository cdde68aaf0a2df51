"""How many workers of one kind there should be. Pure.

The backlog decides: the ready work is to be finished `wait_seconds` after the oldest task became ready. More workers
are asked for at once. Fewer are asked for only when fewer would have been enough for the whole of `idle_seconds`, as in
the stabilization window of Kubernetes' HorizontalPodAutoscaler
(https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/). `python -m benchmarks.scaling`
shows the waiting times and the cost of a day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

WAIT_SECONDS = 60.0
IDLE_SECONDS = 120.0
STALE_SECONDS = 15.0
URGENT_SHARE = 0.25
"""However late the oldest task is, its backlog is spread over this part of the wait: a cluster can't be faster than the
start of its nodes.
"""


class Reason(StrEnum):
    """Why a decision has its number."""

    BACKLOG = "backlog"
    IDLE = "idle"
    STABLE = "stable"
    COOL_DOWN = "cool_down"
    STALE = "stale"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Demand:
    """What the queue asks of one kind of worker.

    ready_seconds: the time that one worker usually takes for all ready tasks. oldest_seconds: for how long the oldest
    of them has been ready. running: leased tasks. taken_at: on the clock of the decision.
    """

    ready: int
    ready_seconds: float
    oldest_seconds: float
    running: int
    taken_at: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest number of workers."""

    min_workers: int
    max_workers: int

    def __post_init__(self) -> None:
        if not 0 <= self.min_workers <= self.max_workers:
            raise ValueError(f"min_workers {self.min_workers} is not within 0 and max_workers {self.max_workers}")

    def ordered(self, min_workers: int | None, max_workers: int | None) -> Bounds:
        """Returns the bounds with those that an operator has ordered; None leaves one as it is.

        An ordered bound holds: one that was not ordered and contradicts it gives way.
        """
        low = self.min_workers if min_workers is None else min_workers
        high = self.max_workers if max_workers is None else max_workers
        if low <= high:
            return Bounds(low, high)
        return Bounds(high, high) if min_workers is None else Bounds(low, low)

    def scaled(self, share: float) -> Bounds:
        """Returns the bounds at a share of the capacity. What is not 0 stays at least 1, as in Serve."""

        def part_of(workers: int) -> int:
            return max(1, round(workers * share)) if workers else 0

        return Bounds(part_of(self.min_workers), part_of(self.max_workers))


@dataclass(frozen=True, slots=True)
class ScalingLimits:
    """min_workers, max_workers: bounds. wait_seconds: when ready work should be finished. idle_seconds: for how long
    fewer workers must have been enough. is_paused: workers claim nothing, so no backlog needs more of them.
    """

    min_workers: int = 0
    max_workers: int = 1
    wait_seconds: float = WAIT_SECONDS
    idle_seconds: float = IDLE_SECONDS
    is_paused: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_workers <= self.max_workers:
            raise ValueError(f"min_workers {self.min_workers} is not within 0 and max_workers {self.max_workers}")
        if not (self.wait_seconds > 0 and self.idle_seconds >= 0):
            raise ValueError("wait_seconds must be positive, and idle_seconds not negative")

    def clamp(self, workers: int) -> int:
        return max(self.min_workers, min(workers, self.max_workers))


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The workers that the queue needed at a time."""

    at: float
    workers: int


@dataclass(frozen=True, slots=True)
class Decision:
    """workers: the target. recommendations: for the next decision. Each later one is smaller, so that they are few."""

    workers: int
    reason: Reason
    recommendations: tuple[Recommendation, ...] = ()


def recommended_workers(demand: Demand, limits: ScalingLimits) -> int:
    """The workers that the demand needs, within the limits: one for each running task, so that no busy worker is asked
    to stop, and as many as finish the ready work in time, but no more than there are tasks.
    """
    if limits.is_paused or demand.ready <= 0:
        return limits.clamp(demand.running)
    seconds = max(limits.wait_seconds - demand.oldest_seconds, limits.wait_seconds * URGENT_SHARE)
    needed = math.ceil(min(demand.ready_seconds / seconds, demand.ready))
    return limits.clamp(demand.running + max(1, needed))


def decide(
    demand: Demand | None,
    limits: ScalingLimits,
    *,
    workers: int,
    now: float,
    earlier: Sequence[Recommendation] = (),
    stale_seconds: float = STALE_SECONDS,
) -> Decision:
    """Returns the target number of workers.

    demand: None when the queue was never read. workers: the present target. earlier: the recommendations of the last
    decision. Old data change nothing: an outage of the database neither ends nor starts workers.
    """
    if demand is None or now - demand.taken_at > stale_seconds:
        return Decision(workers, Reason.STALE, tuple(earlier))
    recommended = recommended_workers(demand, limits)
    # Whoever has just started to decide does not know for how long the present workers were needed.
    earlier = earlier or (Recommendation(now, workers),)
    # A smaller recommendation never counts again once a later one is greater.
    kept = [one for one in earlier if now - one.at < limits.idle_seconds and one.workers > recommended]
    recommendations = (*kept, Recommendation(now, recommended))
    target = limits.clamp(min(workers, recommendations[0].workers) if recommended < workers else recommended)
    return Decision(target, _reason(demand, limits, workers, target, recommended), recommendations)


def _reason(demand: Demand, limits: ScalingLimits, workers: int, target: int, recommended: int) -> Reason:
    if limits.is_paused:
        return Reason.PAUSED
    if target > workers:
        return Reason.BACKLOG
    if target < workers:
        return Reason.IDLE
    return Reason.COOL_DOWN if recommended < target else Reason.STABLE

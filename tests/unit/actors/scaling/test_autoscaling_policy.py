"""Serve's policy: it answers from memory, within Serve's bounds, and says what it changes."""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from actors.scaling.autoscaling_policy import WorkerScalingPolicy
from actors.scaling.demand_watch import NO_ORDERS, DemandWatch
from actors.scaling.replica_decision import Bounds, Demand
from db.operator_controls import ScalingOrders, WorkerLimits

if TYPE_CHECKING:
    from actors.scaling.fall_back_watch import FallBackWatch


class KnownDemand(DemandWatch):
    """A demand and orders that a test sets."""

    def __init__(self) -> None:
        self.known: Demand | None = None
        self.ordered = NO_ORDERS

    @property
    def demand(self) -> Demand | None:
        return self.known

    @property
    def orders(self) -> ScalingOrders:
        return self.ordered


def context(target: int, capacity: float = 1.0) -> Any:
    """capacity: the share that Serve gives to the application."""
    return SimpleNamespace(
        target_num_replicas=target,
        capacity_adjusted_max_replicas=int(1000 * capacity),
        config=SimpleNamespace(max_replicas=1000),
    )


def demand(ready: int, running: int = 0, age: float = 0.0) -> Demand:
    return Demand(ready, ready * 60.0, 0, running, time.monotonic() - age)


def open_policy(low: int = 0, high: int = 10) -> tuple[WorkerScalingPolicy, KnownDemand]:
    watch = KnownDemand()
    return WorkerScalingPolicy(watch, bounds=Bounds(low, high), wait_seconds=60, idle_seconds=120), watch


def test_backlog_is_answered_at_once_within_the_bounds(caplog: pytest.LogCaptureFixture) -> None:
    policy, watch = open_policy()
    watch.known = demand(4)
    with caplog.at_level(logging.INFO, "ray.serve"):
        assert policy(context(0)) == (4, {})
        watch.known = demand(400)
        assert policy(context(4)) == (10, {})
    assert caplog.messages == [
        "The pool goes from 0 to 4 workers: backlog.",
        "The pool goes from 4 to 10 workers: backlog.",
    ]


def test_watch_of_the_fall_back_starts_with_the_first_decision_alone() -> None:
    """Serve makes policies in processes that never ask them."""
    starts: list[str] = []
    fall_back = cast("FallBackWatch", SimpleNamespace(start=lambda: starts.append("start")))
    policy = WorkerScalingPolicy(
        KnownDemand(), bounds=Bounds(0, 10), wait_seconds=60, idle_seconds=120, fall_back=fall_back
    )
    assert starts == []
    policy(context(0))
    assert starts == ["start"]


def test_empty_queue_lets_workers_go_after_the_idle_time_only() -> None:
    now, watch = [0.0], KnownDemand()
    policy = WorkerScalingPolicy(watch, bounds=Bounds(1, 10), wait_seconds=60, idle_seconds=120, clock=lambda: now[0])
    watch.known = Demand(3, 180, 0, 0, 0)
    assert policy(context(0))[0] == 3
    watch.known, now[0] = Demand(0, 0, 0, 0, 119), 119
    assert policy(context(3))[0] == 3
    watch.known, now[0] = Demand(0, 0, 0, 0, 121), 121
    assert policy(context(3))[0] == 1


def test_queue_that_can_not_be_read_changes_nothing_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    policy, watch = open_policy()
    with caplog.at_level(logging.INFO, "ray.serve"):
        assert [policy(context(7))[0] for _ in range(3)] == [7, 7, 7]
        watch.known = demand(9, age=60)
        assert policy(context(7))[0] == 7
    assert caplog.messages == ["The pool stays at 7 workers: the queue can't be read."]


def test_ordered_limits_go_before_those_of_the_deployment_until_they_are_reset() -> None:
    policy, watch = open_policy(low=1, high=10)
    watch.known = demand(400)
    watch.ordered = ScalingOrders(is_paused=False, limits=WorkerLimits(None, 25))
    assert policy(context(10))[0] == 25
    watch.ordered = ScalingOrders(is_paused=False, limits=WorkerLimits(30, None))
    assert policy(context(25))[0] == 30
    watch.ordered = ScalingOrders(is_paused=False, limits=WorkerLimits(0, 0))
    assert policy(context(30))[0] == 0
    watch.ordered = NO_ORDERS
    assert policy(context(0))[0] == 10


def test_paused_claiming_asks_for_no_new_workers() -> None:
    policy, watch = open_policy()
    watch.known = demand(400, running=2)
    watch.ordered = ScalingOrders(is_paused=True, limits=WorkerLimits())
    assert policy(context(2))[0] == 2
    assert policy(context(0))[0] == 2
    watch.ordered = NO_ORDERS
    assert policy(context(2))[0] == 10


def test_bounds_follow_the_share_of_capacity_that_serve_gives() -> None:
    policy, watch = open_policy(low=4, high=10)
    watch.known = demand(400)
    assert policy(context(0, capacity=0.5))[0] == 5
    watch.known = demand(0)
    assert policy(context(0, capacity=0.01))[0] == 1


def test_policy_is_found_by_the_name_that_the_pool_gives_to_serve() -> None:
    """Serve's controller makes it of the arguments that the application passes."""
    from ray.serve.config import AutoscalingPolicy

    from cluster.serve_applications import WorkerPlacement, scaling_of
    from cluster.settings import Settings

    settings = Settings.model_construct()
    scaling = scaling_of(WorkerPlacement(max_workers=3), settings)
    assert scaling is not None
    policy = cast("Any", AutoscalingPolicy)(policy_function=scaling.policy, policy_kwargs=dict(scaling.policy_kwargs))
    made = policy.get_policy()(**policy.policy_kwargs)
    assert made(context(2)) == (2, {})

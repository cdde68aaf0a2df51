"""Properties of the number of workers, for any history of the queue."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actors.scaling.replica_decision import (
    STALE_SECONDS,
    Bounds,
    Decision,
    Demand,
    Reason,
    ScalingLimits,
    decide,
    recommended_workers,
)

LIMITS = ScalingLimits(min_workers=0, max_workers=100, wait_seconds=60, idle_seconds=120)
IDLE = Demand(0, 0, 0, 0, 0)

demands = st.builds(
    Demand,
    ready=st.integers(0, 10_000),
    ready_seconds=st.floats(0, 1e7),
    oldest_seconds=st.floats(0, 1e6),
    running=st.integers(0, 200),
    taken_at=st.just(0.0),
)
limits = st.builds(
    lambda low, more, wait, idle: ScalingLimits(low, low + more, wait, idle),
    st.integers(0, 20),
    st.integers(0, 200),
    st.floats(1, 600),
    st.floats(0, 600),
)


def at(demand: Demand, now: float) -> Demand:
    return Demand(demand.ready, demand.ready_seconds, demand.oldest_seconds, demand.running, now)


def run(
    series: Sequence[tuple[float, Demand]], limits: ScalingLimits, workers: int = 0
) -> list[tuple[float, int, Decision]]:
    """The decisions over time: (time, target before, decision)."""
    decisions, now, decision = [], 0.0, Decision(workers, Reason.STABLE)
    for pause, demand in series:
        now += pause
        before = decision.workers
        decision = decide(at(demand, now), limits, workers=before, now=now, earlier=decision.recommendations)
        decisions.append((now, before, decision))
    return decisions


@given(demands, limits)
def test_recommendation_is_within_the_limits(demand: Demand, limits: ScalingLimits) -> None:
    assert limits.min_workers <= recommended_workers(demand, limits) <= limits.max_workers


@given(demands, limits)
def test_no_busy_worker_is_asked_to_stop(demand: Demand, limits: ScalingLimits) -> None:
    assert recommended_workers(demand, limits) >= min(demand.running, limits.max_workers)


@given(demands, limits)
def test_no_more_workers_are_asked_for_than_there_are_tasks(demand: Demand, limits: ScalingLimits) -> None:
    assert recommended_workers(demand, limits) <= max(demand.running + demand.ready, limits.min_workers)


@given(st.lists(st.tuples(st.floats(0.1, 200), demands), max_size=30), limits, st.integers(0, 300))
def test_target_is_within_the_limits_and_never_falls_soon_after_it_was_needed(
    series: Sequence[tuple[float, Demand]], limits: ScalingLimits, workers: int
) -> None:
    decisions = run(series, limits, min(workers, limits.max_workers))
    needed = [
        (now, recommended_workers(demand, limits)) for (now, _, _), (_, demand) in zip(decisions, series, strict=True)
    ]
    for now, before, decision in decisions:
        assert limits.min_workers <= decision.workers <= limits.max_workers
        if decision.workers < before:
            recently = [number for when, number in needed if when == now or 0 < now - when < limits.idle_seconds]
            assert decision.workers == max(recently)


@given(st.lists(st.tuples(st.floats(0.1, 50), demands), max_size=30), limits)
def test_target_does_not_flap(series: Sequence[tuple[float, Demand]], limits: ScalingLimits) -> None:
    """Between a rise and the next fall there is a whole idle time."""
    rose_at = float("-inf")
    for now, before, decision in run(series, limits):
        if decision.workers > before:
            rose_at = now
        elif decision.workers < before:
            assert now - rose_at >= limits.idle_seconds


@given(st.lists(st.tuples(st.floats(0.1, 50), demands), max_size=40), limits)
def test_memory_of_the_decision_is_bounded_by_the_number_of_workers(
    series: Sequence[tuple[float, Demand]], limits: ScalingLimits
) -> None:
    for _, _, decision in run(series, limits):
        workers = [one.workers for one in decision.recommendations]
        assert workers == sorted(set(workers), reverse=True)


@given(demands, limits, st.integers(0, 300), st.floats(0.1, 1e6))
def test_stale_data_change_nothing(demand: Demand, limits: ScalingLimits, workers: int, late: float) -> None:
    now = demand.taken_at + STALE_SECONDS + late
    for known in (demand, None):
        decision = decide(known, limits, workers=workers, now=now)
        assert (decision.workers, decision.reason) == (workers, Reason.STALE)


@given(st.integers(0, 50), st.integers(0, 50), st.none() | st.integers(0, 50), st.none() | st.integers(0, 50))
def test_ordered_bounds_hold_and_the_others_give_way(
    low: int, more: int, min_workers: int | None, max_workers: int | None
) -> None:
    assume(min_workers is None or max_workers is None or min_workers <= max_workers)
    deployed = Bounds(low, low + more)
    bounds = deployed.ordered(min_workers, max_workers)
    assert bounds.min_workers == (min(low, bounds.max_workers) if min_workers is None else min_workers)
    assert bounds.max_workers == (max(low + more, bounds.min_workers) if max_workers is None else max_workers)


def test_burst_is_answered_by_the_first_decision() -> None:
    decision = decide(Demand(40, 1200, 1, 0, 10), LIMITS, workers=0, now=10)
    assert (decision.workers, decision.reason) == (21, Reason.BACKLOG)


def test_late_backlog_asks_for_more_workers() -> None:
    early, late = Demand(500, 1200, 0, 0, 0), Demand(500, 1200, 40, 0, 0)
    assert recommended_workers(late, LIMITS) == 3 * recommended_workers(early, LIMITS)


def test_one_short_task_gets_a_worker_and_the_last_worker_ends_after_the_idle_time() -> None:
    series = [(1.0, Demand(1, 0.01, 0, 0, 0)), (1.0, Demand(0, 0, 0, 1, 0))] + [(10.0, IDLE)] * 13
    decisions = run(series, LIMITS)
    assert [decision.workers for _, _, decision in decisions] == [1] * 13 + [0] * 2
    assert [decision.reason for _, _, decision in decisions[-3:]] == [Reason.COOL_DOWN, Reason.IDLE, Reason.STABLE]


def test_whoever_starts_to_decide_keeps_the_workers_for_the_idle_time() -> None:
    decisions = run([(0.1, IDLE), (119.0, IDLE), (1.1, IDLE)], LIMITS, workers=7)
    assert [decision.workers for _, _, decision in decisions] == [7, 7, 0]


def test_paused_pool_starts_no_worker_and_lets_the_busy_ones_finish() -> None:
    paused = ScalingLimits(0, 100, is_paused=True)
    decision = decide(Demand(1000, 1e6, 9, 3, 0), paused, workers=0, now=0)
    assert (decision.workers, decision.reason) == (3, Reason.PAUSED)


def test_lower_maximum_holds_at_once() -> None:
    decision = decide(Demand(9, 900, 1, 5, 0), ScalingLimits(0, 2), workers=5, now=0)
    assert decision.workers == 2


@pytest.mark.parametrize(
    ("low", "high", "wait", "idle"),
    [(-1, 2, 60, 0), (3, 2, 60, 0), (0, 2, 0, 0), (0, 2, 60, -1), (0, 2, float("nan"), 0)],
)
def test_impossible_limits_are_refused(low: int, high: int, wait: float, idle: float) -> None:
    with pytest.raises(ValueError, match=r"workers|seconds"):
        ScalingLimits(low, high, wait, idle)

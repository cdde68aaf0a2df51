"""Restarts: at once after a stable run, otherwise after pauses that grow up to a bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cluster.local.supervision.restart_policy import RestartPolicy

POLICIES = st.builds(
    RestartPolicy,
    first_pause=st.floats(0.001, 10),
    longest_pause=st.floats(10, 1000),
    stable=st.floats(0, 1000),
)


def pauses(policy: RestartPolicy, runs: list[float | None]) -> list[float]:
    """The pause after each run. runs: how many seconds each lasted; None: the start failed."""
    failures, seconds = 0, []
    for run_seconds in runs:
        failures = policy.failures_after(failures, run_seconds)
        seconds.append(policy.pause_after(failures))
    return seconds


@given(POLICIES, st.lists(st.none() | st.floats(0, 2000), max_size=200))
def test_pauses_are_bounded(policy: RestartPolicy, runs: list[float | None]) -> None:
    assert all(0 <= pause <= policy.longest_pause for pause in pauses(policy, runs))


@given(POLICIES, st.integers(2, 3000))
def test_pauses_grow_with_failures_in_a_row(policy: RestartPolicy, times: int) -> None:
    seconds = pauses(policy, [None] * times)
    assert seconds == sorted(seconds)
    assert seconds[0] == 0
    assert seconds[1] == policy.first_pause


@given(POLICIES, st.lists(st.none(), max_size=50), st.floats(0, 1000))
def test_server_restarts_at_once_after_a_stable_run(policy: RestartPolicy, failed: list[None], longer: float) -> None:
    assert pauses(policy, [*failed, policy.stable + longer])[-1] == 0


@given(POLICIES, st.integers(1, 100))
def test_short_run_counts_as_a_failure(policy: RestartPolicy, times: int) -> None:
    short = policy.stable / 2
    if short < policy.stable:
        assert pauses(policy, [short] * times) == pauses(policy, [None] * times)


def test_five_breakdowns_in_a_row_cost_less_than_eight_seconds_of_pauses() -> None:
    assert pauses(RestartPolicy(), [5.0] * 5) == [0, 0.5, 1, 2, 4]

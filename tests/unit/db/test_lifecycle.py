"""State transitions, and the counters that decide what follows a failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.values.error_catalogue import CATALOGUE, Fault
from db.values.lifecycle import (
    BACKOFF_MAX_SECONDS,
    EXTRACTION_TRANSITIONS,
    MAX_CHILD_REPORTS,
    MAX_CRASHES,
    MAX_LOSSES,
    SERVICE_ERROR_SECONDS,
    SERVICE_ERRORS,
    TASK_TRANSITIONS,
    Blame,
    Counters,
    ExtractionStatus,
    GiveUp,
    Retry,
    TaskState,
    after_failure,
    blame_of,
    blame_of_child_report,
    is_sequential,
    is_terminal,
)


def test_every_state_has_a_row_of_transitions() -> None:
    assert set(EXTRACTION_TRANSITIONS) == set(ExtractionStatus)
    assert set(TASK_TRANSITIONS) == set(TaskState)


def test_final_states_have_no_transitions() -> None:
    assert {s for s in ExtractionStatus if is_terminal(s)} == {"succeeded", "failed", "cancelled"}
    assert {s for s in TaskState if is_terminal(s)} == {"done", "failed", "cancelled"}


def test_file_error_fails_at_once() -> None:
    assert after_failure(Blame.FILE, "no_video_stream", Counters(), 0.5) == GiveUp("no_video_stream")


def test_third_crash_gives_up_and_the_try_before_it_is_sequential() -> None:
    outcomes = [after_failure(Blame.CRASH, "gave_up", Counters(crashes=n), 0.0) for n in range(MAX_CRASHES)]
    assert outcomes == [Retry(0.0), Retry(0.0), GiveUp("gave_up")]
    assert [is_sequential(n) for n in range(MAX_CRASHES)] == [False, False, True]


def test_lost_lease_is_retried_twenty_times() -> None:
    outcomes = [after_failure(Blame.LOSS, "workers_lost", Counters(losses=n), 0.0) for n in range(MAX_LOSSES + 1)]
    assert outcomes == [Retry(0.0)] * MAX_LOSSES + [GiveUp("workers_lost")]


@given(
    tries=st.integers(0, 10_000),
    seconds=st.floats(0, SERVICE_ERROR_SECONDS - 1),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_service_error_is_retried_for_a_day_with_bounded_pauses(tries: int, seconds: float, jitter: float) -> None:
    counters = Counters(service_errors=tries, service_error_seconds=seconds)
    outcome = after_failure(Blame.SERVICE, "unavailable", counters, jitter)
    assert isinstance(outcome, Retry)
    assert 0 < outcome.delay_seconds <= BACKOFF_MAX_SECONDS


def test_service_errors_reported_by_a_child_are_bounded() -> None:
    blames = [blame_of_child_report(count) for count in range(MAX_CHILD_REPORTS + 2)]
    assert blames == [Blame.SERVICE] * MAX_CHILD_REPORTS + [Blame.CRASH] * 2


def test_service_error_gives_up_after_a_day() -> None:
    counters = Counters(service_errors=300, service_error_seconds=SERVICE_ERROR_SECONDS)
    assert after_failure(Blame.SERVICE, "unavailable", counters, 0.5) == GiveUp("service_failed")


@pytest.mark.parametrize("tries", range(SERVICE_ERRORS - 1))
def test_few_service_errors_are_retried_even_after_days(tries: int) -> None:
    counters = Counters(service_errors=tries, service_error_seconds=3 * SERVICE_ERROR_SECONDS)
    assert isinstance(after_failure(Blame.SERVICE, "unavailable", counters, 0.5), Retry)


@pytest.mark.parametrize("fault", list(Fault))
def test_only_fault_service_counts_as_a_service_error(fault: Fault) -> None:
    assert blame_of(fault) is (Blame.SERVICE if fault is Fault.SERVICE else Blame.FILE)


def test_every_code_that_ends_a_task_is_in_the_catalogue() -> None:
    assert {"gave_up", "workers_lost", "service_failed"} <= set(CATALOGUE)


def test_every_entry_has_title_and_remedy_in_both_languages() -> None:
    for code, entry in CATALOGUE.items():
        for text in (entry.en, entry.pt):
            assert text.title.endswith("."), code
            assert text.remedy.endswith("."), code

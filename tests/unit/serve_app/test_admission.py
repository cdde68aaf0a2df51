"""Admission decisions: quotas, queue depth, disk reserve."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from db.acceptance.quotas import UNLIMITED, Quotas, Usage, check
from db.values.error_catalogue import CatalogueError
from serve_app.submission.admission_control import check_depth, check_storage

AMOUNT = st.integers(0, 1000)
LIMIT = st.none() | st.integers(1, 1000)


def passes(call: Callable[..., None], *values: object, **named: object) -> bool:
    """Whether it lets in; a refusal always says when to ask again."""
    try:
        call(*values, **named)
    except CatalogueError as error:
        return not error.retry_after
    return True


@given(waiting=AMOUNT, stored=AMOUNT, files=st.integers(1, 100), size=AMOUNT, most=LIMIT, bytes_=LIMIT)
def test_admitted_work_never_exceeds_the_quota(
    waiting: int, stored: int, files: int, size: int, most: int | None, bytes_: int | None
) -> None:
    within = (most is None or waiting + files <= most) and (bytes_ is None or stored + size <= bytes_)
    assert passes(check, Quotas(most, bytes_), Usage(waiting, stored), files=files, size=size) is within


@given(planned=st.floats(0, 1e6), minutes=st.integers(1, 100))
def test_account_that_has_used_its_minutes_gets_no_new_extraction(planned: float, minutes: int) -> None:
    usage = Usage(0, 0, planned, over_seconds=0.2)
    assert passes(check, Quotas(minutes_per_day=minutes), usage, files=1, size=0) is (planned < 60 * minutes)
    # What counts as an extraction already is not refused: the bytes of an open upload.
    assert passes(check, Quotas(minutes_per_day=minutes), usage, files=0, size=1)


def test_without_quota_everything_is_admitted() -> None:
    assert passes(check, UNLIMITED, Usage(10**9, 10**15), files=100, size=10**12)


@given(most=st.integers(1, 100), waiting=st.integers(0, 200))
def test_queue_admits_work_up_to_its_maximum(most: int, waiting: int) -> None:
    assert passes(check_depth, most, waiting) is (waiting < most)


@given(free=AMOUNT, incoming=AMOUNT, size=AMOUNT, reserve=AMOUNT)
def test_present_and_incoming_uploads_leave_the_disk_reserve_free(
    free: int, incoming: int, size: int, reserve: int
) -> None:
    amounts = {"incoming_bytes": incoming, "size": size, "min_free_bytes": reserve}
    assert passes(check_storage, free, **amounts) is (free - incoming - size >= reserve)
    assert passes(check_storage, None, **amounts)

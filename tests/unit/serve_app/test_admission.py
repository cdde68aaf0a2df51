"""Admission decisions: quotas, queue depth, disk reserve."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from db.acceptance.quotas import UNLIMITED, Quotas, Usage, check
from db.values.error_catalogue import CatalogueError
from serve_app.submission.admission_control import check_concurrency, check_depth, check_storage

AMOUNT = st.integers(0, 1000)
LIMIT = st.none() | st.integers(1, 1000)


def is_admitted(call: Callable[..., None], *values: object, **options: object) -> bool:
    """Returns whether a check raises nothing. A refusal must say when to try again."""
    try:
        call(*values, **options)
    except CatalogueError as error:
        return not error.retry_after
    return True


@given(waiting=AMOUNT, stored=AMOUNT, files=st.integers(1, 100), size=AMOUNT, max_queued=LIMIT, max_stored=LIMIT)
def test_admitted_work_never_exceeds_the_quota(
    waiting: int, stored: int, files: int, size: int, max_queued: int | None, max_stored: int | None
) -> None:
    is_within_quota = (max_queued is None or waiting + files <= max_queued) and (
        max_stored is None or stored + size <= max_stored
    )
    assert (
        is_admitted(check, Quotas(max_queued, max_stored), Usage(waiting, stored), files=files, size=size)
        is is_within_quota
    )


@given(planned=st.floats(0, 1e6), minutes=st.integers(1, 100))
def test_account_that_has_used_its_minutes_gets_no_new_extraction(planned: float, minutes: int) -> None:
    usage = Usage(0, 0, planned, over_seconds=0.2)
    assert is_admitted(check, Quotas(minutes_per_day=minutes), usage, files=1, size=0) is (planned < 60 * minutes)
    # Further bytes of an open upload are admitted: its extraction has been admitted before.
    assert is_admitted(check, Quotas(minutes_per_day=minutes), usage, files=0, size=1)


def test_without_quota_everything_is_admitted() -> None:
    assert is_admitted(check, UNLIMITED, Usage(10**9, 10**15), files=100, size=10**12)


@given(max_queued=st.integers(1, 100), waiting=st.integers(0, 200))
def test_queue_admits_work_up_to_its_maximum(max_queued: int, waiting: int) -> None:
    assert is_admitted(check_depth, max_queued, waiting) is (waiting < max_queued)


@given(places=st.integers(2, 100), requests=st.lists(st.booleans(), max_size=300))
def test_one_account_never_takes_all_places_of_a_replica(places: int, requests: list[bool]) -> None:
    uploads = 0
    for begins in requests:
        if not begins:
            uploads = max(0, uploads - 1)
        elif is_admitted(check_concurrency, places, uploads, uploads):
            uploads += 1
        assert is_admitted(check_concurrency, places, uploads, 0)


@given(places=st.integers(1, 100), uploads=st.integers(0, 200), share=st.floats(0, 0.49))
def test_account_with_less_than_half_of_the_places_gets_every_free_one(places: int, uploads: int, share: float) -> None:
    assert is_admitted(check_concurrency, places, uploads, int(places * share)) is (uploads < places)


@given(free=AMOUNT, incoming=AMOUNT, size=AMOUNT, reserve=AMOUNT)
def test_present_and_incoming_uploads_leave_the_disk_reserve_free(
    free: int, incoming: int, size: int, reserve: int
) -> None:
    amounts = {"incoming_bytes": incoming, "size": size, "min_free_bytes": reserve}
    assert is_admitted(check_storage, free, **amounts) is (free - incoming - size >= reserve)
    assert is_admitted(check_storage, None, **amounts)

"""What may come in, as decisions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.cli.input_files import input_files
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
def test_what_a_quota_lets_in_is_within_it(
    waiting: int, stored: int, files: int, size: int, most: int | None, bytes_: int | None
) -> None:
    within = (most is None or waiting + files <= most) and (bytes_ is None or stored + size <= bytes_)
    assert passes(check, Quotas(most, bytes_), Usage(waiting, stored), files=files, size=size) is within


def test_no_quota_is_no_limit() -> None:
    assert passes(check, UNLIMITED, Usage(10**9, 10**15), files=100, size=10**12)


@given(most=st.integers(1, 100), waiting=st.integers(0, 200))
def test_the_queue_takes_work_up_to_its_depth(most: int, waiting: int) -> None:
    assert passes(check_depth, most, waiting) is (waiting < most)


@given(free=AMOUNT, incoming=AMOUNT, size=AMOUNT, reserve=AMOUNT)
def test_uploads_and_incoming_uploads_leave_the_reserve_free(free: int, incoming: int, size: int, reserve: int) -> None:
    amounts = {"incoming_bytes": incoming, "size": size, "min_free_bytes": reserve}
    assert passes(check_storage, free, **amounts) is (free - incoming - size >= reserve)
    assert passes(check_storage, None, **amounts)


def test_a_folder_means_the_videos_in_it_and_below(tmp_path: Path) -> None:
    named = tmp_path / "odd.name"
    for name in ("b.MP4", "a.mkv", "notes.txt", "below/c.webm", ".trash/d.mp4", "._a.mkv", "odd.name"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = [str(path.relative_to(tmp_path)) for path in input_files([named, tmp_path])]
    assert found == ["odd.name", "a.mkv", "b.MP4", "below/c.webm"]


@pytest.mark.parametrize("name", ["none.mp4", "none"])
def test_a_path_that_is_not_there_is_left_to_whoever_opens_it(tmp_path: Path, name: str) -> None:
    assert input_files([tmp_path / name]) == [tmp_path / name]

"""What a stream has still to send: the newest snapshots, a bounded number of bytes, and ids that miss nothing."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from serve_app.live.pending_events import Batch, PendingEvents

A, B = UUID(int=1), UUID(int=2)


def test_only_the_newest_snapshot_of_an_extraction_waits() -> None:
    pending = PendingEvents(10, max_bytes=100)
    pending.add(A, b"a1")
    pending.add(B, b"b1")
    pending.add(A, b"a2")
    pending.advance(12)
    assert pending.take() == Batch((b"a2", b"b1"), 10, 12, is_incomplete=False)
    assert pending.is_empty
    assert pending.take() == Batch((), 12, 12, is_incomplete=False)


def test_batch_taken_before_its_changes_are_complete_does_not_advance_the_id() -> None:
    pending = PendingEvents(10, max_bytes=100)
    pending.add(A, b"a1")
    assert pending.take() == Batch((b"a1",), 10, 10, is_incomplete=False)
    pending.add(B, b"b1")
    pending.advance(12)
    assert pending.take() == Batch((b"b1",), 10, 12, is_incomplete=False)


def test_more_than_the_limit_is_dropped_and_read_from_the_last_sent_id() -> None:
    pending = PendingEvents(10, max_bytes=10)
    for n, name in enumerate((A, B)):
        pending.add(name, b"x" * 6)
        pending.advance(11 + n)
    assert not pending.is_empty
    pending.add(A, b"y")
    assert pending.take() == Batch((), 10, 12, is_incomplete=True)
    pending.add(A, b"z")
    assert pending.take().snapshots == (b"z",)


def test_single_snapshot_above_the_limit_is_kept() -> None:
    pending = PendingEvents(10, max_bytes=10)
    pending.add(A, b"x" * 50)
    pending.add(A, b"y" * 60)
    assert pending.take().snapshots == (b"y" * 60,)


@given(st.lists(st.one_of(st.tuples(st.integers(0, 5), st.binary(max_size=20)), st.none())))
def test_never_more_than_the_limit_waits_and_no_change_is_lost(steps: list[tuple[int, bytes] | None]) -> None:
    """A step is a snapshot that is added, or None: the stream takes what waits."""
    pending, expected = PendingEvents(0, max_bytes=30), dict[UUID, bytes]()
    for step in [*steps, None]:
        if step is not None:
            expected[UUID(int=step[0])] = step[1]
            pending.add(UUID(int=step[0]), step[1])
            continue
        batch = pending.take()
        assert batch.is_incomplete or batch.snapshots == tuple(expected.values())
        assert len(batch.snapshots) <= 1 or sum(map(len, batch.snapshots)) <= 30
        expected = {}

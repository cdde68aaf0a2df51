"""For how many workers other nodes are requested, for any history of the pool."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from actors.scaling.fall_back import FallBack, NodeRoom, Placing, remembered, requested_room

LABELS = {"ray.io/market-type": "on-demand"}
FALL_BACK = FallBack({"CPU": 2, "decode_cpu": 1}, LABELS, after_seconds=45, max_workers=40)
TOTAL = {"CPU": 4.0, "decode_cpu": 2.0}

counts = st.lists(st.tuples(st.floats(0.1, 60), st.integers(0, 50), st.integers(0, 40)), min_size=1, max_size=40)


def decided(steps: Sequence[tuple[float, int, int]]) -> list[tuple[Placing, int]]:
    """What is requested over time, for steps of (pause, waiting, placed)."""
    history: tuple[Placing, ...] = ()
    now, found = 0.0, []
    for pause, waiting, placed in steps:
        now += pause
        history = remembered(history, Placing(now, waiting, placed), FALL_BACK.after_seconds)
        found.append((history[-1], requested_room(history, FALL_BACK)))
    return found


def every_2_seconds(*counts: tuple[int, int]) -> int:
    return decided([(2.0, *count) for count in counts])[-1][1]


@given(counts)
def test_room_is_requested_only_for_workers_that_waited_all_the_time(steps: list[tuple[float, int, int]]) -> None:
    found = decided(steps)
    for latest, workers in found:
        window = [one for one, _ in found if one.at <= latest.at and latest.at - one.at <= FALL_BACK.after_seconds]
        is_known = latest.at - found[0][0].at >= FALL_BACK.after_seconds
        assert 0 <= workers <= FALL_BACK.max_workers
        if not is_known or min(one.waiting for one in window) == 0:
            assert workers == 0
        assert workers <= latest.placed + min(one.waiting for one in window)


def test_workers_that_wait_for_45_seconds_get_room_beside_those_that_are_placed() -> None:
    assert every_2_seconds(*[(8, 0)] * 23) == 0
    assert every_2_seconds(*[(8, 0)] * 24) == 8
    assert every_2_seconds(*[(8, 4)] * 24) == 12
    assert every_2_seconds(*[(30, 20)] * 24) == 40, "Ray ignores a request for more than there can be"


def test_new_work_does_not_count_for_work_that_waits_in_vain() -> None:
    assert every_2_seconds(*[(2, 0)] * 20, *[(30, 0)] * 10) == 2
    assert every_2_seconds(*[(8, 0)] * 30, (6, 2), (6, 2)) == 8


def test_worker_that_has_just_found_its_place_does_not_count_twice() -> None:
    assert every_2_seconds(*[(8, 0)] * 30, (8, 2)) == 8


def test_nothing_is_requested_when_all_workers_have_their_place() -> None:
    assert every_2_seconds(*[(8, 0)] * 30, (0, 8)) == 0


def test_history_stays_short() -> None:
    history: tuple[Placing, ...] = ()
    for second in range(0, 600, 2):
        history = remembered(history, Placing(second, 1, 0), FALL_BACK.after_seconds)
        assert len(history) <= 25


def test_workers_on_nodes_of_the_fall_back_are_counted_by_their_resources() -> None:
    nodes = [
        NodeRoom(TOTAL, {}, LABELS | {"ray.io/node-id": "1"}),
        NodeRoom(TOTAL, {"CPU": 2.0, "decode_cpu": 1.0}, LABELS),
        NodeRoom(TOTAL, TOTAL, LABELS),
        NodeRoom(TOTAL, {}, {"ray.io/market-type": "spot"}),
        NodeRoom({"CPU": 8.0}, {}, LABELS),
    ]
    assert FALL_BACK.placed(nodes) == 3


def test_only_requests_of_the_pool_are_its_workers() -> None:
    assert FALL_BACK.is_worker({"CPU": 2, "decode_cpu": 1})
    assert not FALL_BACK.is_worker({"CPU": 4, "decode_gpu": 1})
    assert not FALL_BACK.is_worker({"api": 0.6})

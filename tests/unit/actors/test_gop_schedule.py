"""Packet runs of the planned reader, and its number of decoders."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.plan.frame_selection import GopTargets, group_by_gop
from actors.plan.frame_table import FrameTable, build_frame_table
from actors.plan.gop_schedule import MIN_RUN_PACKETS, PacketRun, decoder_count, schedule_runs


@st.composite
def streams(draw: st.DrawFn) -> FrameTable:
    """Closed and open GOPs. In an open GOP the key frame is coded before pictures that are shown before it."""
    pts: list[int] = []
    keys: list[bool] = []
    shown = 0
    for length in draw(st.lists(st.integers(1, 60), min_size=1, max_size=8)):
        leading = draw(st.integers(0, 3)) if pts else 0
        pts.append(shown + leading)
        pts.extend(range(shown, shown + leading))
        rest = list(range(shown + leading + 1, shown + leading + length))
        for start in range(0, len(rest), 3):  # a P-frame is coded before the B-frames that are shown before it
            *b_frames, p_frame = rest[start : start + 3]
            pts.extend([p_frame, *b_frames])
        keys.extend([True, *[False] * (leading + length - 1)])
        shown += leading + length
    return build_frame_table(Fraction(1, 30), pts, is_key=keys)


@st.composite
def plans(draw: st.DrawFn) -> tuple[FrameTable, list[int]]:
    table = draw(streams())
    selected = draw(st.sets(st.integers(0, len(table) - 1), min_size=1))
    return table, sorted(selected)


@given(plans())
def test_every_target_is_in_exactly_one_packet_run_in_order(plan: tuple[FrameTable, list[int]]) -> None:
    table, selected = plan
    runs = schedule_runs(table, group_by_gop(table, selected))
    assert runs is not None
    assert [target.index for run in runs for target in run.targets] == selected


@given(plans())
def test_packet_run_goes_from_a_key_frame_to_the_last_packet_of_its_targets(
    plan: tuple[FrameTable, list[int]],
) -> None:
    table, selected = plan
    for run in schedule_runs(table, group_by_gop(table, selected)) or ():
        positions = [int(table.decode_order[target.index]) for target in run.targets]
        assert run.first <= min(positions)
        assert run.last == max(positions)
        assert run.key_pts is not None
        key = table.index_of(run.key_pts)
        assert key is not None
        assert table.is_key[key]
        assert table.decode_order[key] == run.first
        assert all(target.pts >= run.key_pts for target in run.targets)


@given(plans())
def test_packet_runs_are_in_decoding_order_and_contain_only_needed_packets(plan: tuple[FrameTable, list[int]]) -> None:
    table, selected = plan
    planned = group_by_gop(table, selected)
    runs = schedule_runs(table, planned) or ()
    assert all(run.first < following.first for run, following in pairwise(runs))
    needed: set[int] = set()
    for gop in planned:
        assert gop.key_pts is not None
        key = table.index_of(gop.key_pts)
        last = max(int(table.decode_order[target.index]) for target in gop.targets)
        needed |= set(range(int(table.decode_order[key]), last + 1))
    assert {position for run in runs for position in range(run.first, run.last + 1)} == needed


def test_adjacent_short_gops_are_one_packet_run() -> None:
    table = build_frame_table(Fraction(1, 30), list(range(120)), is_key=[i % 12 == 0 for i in range(120)])
    every = schedule_runs(table, group_by_gop(table, range(120))) or ()
    assert all(MIN_RUN_PACKETS <= run.packet_count <= MIN_RUN_PACKETS + 12 for run in every[:-1])
    key_frames = schedule_runs(table, group_by_gop(table, range(0, 120, 12))) or ()
    assert [run.packet_count for run in key_frames] == [1] * 10


def test_frames_before_the_first_key_frame_are_decoded_from_the_file_start() -> None:
    table = build_frame_table(Fraction(1, 30), [2, 0, 1, 3], is_key=[True, False, False, False])
    runs = schedule_runs(table, group_by_gop(table, [0, 3])) or ()
    assert (runs[0].key_pts, runs[0].first, runs[-1].last) == (None, 0, 3)


def test_planned_reader_refuses_a_frame_coded_before_its_key_frame() -> None:
    table = build_frame_table(Fraction(1, 30), [0, 1, 2], is_key=[True, True, False], decode_order=[0, 2, 1])
    assert schedule_runs(table, group_by_gop(table, [2])) is None


def runs_of(*pictures: int) -> list[PacketRun]:
    return [PacketRun(0, 0, count - 1, ()) for count in pictures]


@pytest.mark.parametrize(
    ("pictures", "threads", "expected"),
    [
        ([250] * 8, 2, 2),
        ([250], 2, 1),  # nothing to share: the threads of one decoder do it
        ([250, 250], 2, 2),
        ([250, 250, 250], 2, 1),  # one of the two would be idle for a third of the time
        ([250] * 9, 2, 2),
        ([1] * 100, 3, 3),
        ([250] * 8, 1, 1),
    ],
)
def test_each_thread_has_a_decoder_when_packet_runs_share_evenly(
    pictures: list[int], threads: int, expected: int
) -> None:
    assert decoder_count(runs_of(*pictures), threads) == expected


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(1, 8))
def test_number_of_decoders_is_one_or_the_thread_count(pictures: list[int], threads: int) -> None:
    assert decoder_count(runs_of(*pictures), threads) in {1, threads}


def test_no_targets_give_no_packet_runs() -> None:
    table = build_frame_table(Fraction(1), [0, 1], is_key=[True, False])
    assert schedule_runs(table, ()) == ()
    assert schedule_runs(table, [GopTargets(0, group_by_gop(table, [1])[0].targets)]) is not None
    assert np.all(table.decode_order == [0, 1])

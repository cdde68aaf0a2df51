"""Splitting a plan: every target is in one segment, cuts are at key frames, segments are about equal."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from actors.extraction_types import MAX_SEGMENTS, Planned
from actors.plan.decode_deadline import usual_work_seconds
from actors.plan.frame_selection import count_frames_to_decode, group_by_gop
from actors.plan.frame_table import FrameTable, build_frame_table
from actors.plan.segment_split import segment_count, split_plan
from db.values.media_info import Media


@st.composite
def tables(draw: st.DrawFn) -> FrameTable:
    keys = draw(st.lists(st.booleans(), min_size=1, max_size=120))
    return build_frame_table(Fraction(1, 30), list(range(len(keys))), is_key=[True, *keys[1:]])


@st.composite
def tables_and_targets(draw: st.DrawFn) -> tuple[FrameTable, list[int]]:
    table = draw(tables())
    return table, sorted(draw(st.sets(st.integers(0, len(table) - 1), min_size=1)))


@given(tables_and_targets(), st.integers(2, MAX_SEGMENTS))
def test_every_target_is_in_one_segment_and_no_gop_is_cut(drawn: tuple[FrameTable, list[int]], count: int) -> None:
    table, indexes = drawn
    planned = group_by_gop(table, indexes)
    segments = split_plan(table, planned, count)
    bounds = [0, *(segment.stop for segment in segments)]
    assert [segment.number for segment in segments] == list(range(len(segments)))
    assert [segment.first for segment in segments] == bounds[:-1]
    assert bounds[-1] == len(indexes)
    assert all(first < stop for first, stop in pairwise(bounds))
    assert set(bounds) <= {0, *accumulate(len(gop.targets) for gop in planned)}
    assert 1 <= len(segments) <= count


@given(tables_and_targets(), st.integers(2, MAX_SEGMENTS))
def test_segment_decodes_at_most_its_share_plus_one_gop(drawn: tuple[FrameTable, list[int]], count: int) -> None:
    table, indexes = drawn
    planned = group_by_gop(table, indexes)
    segments = split_plan(table, planned, count)
    total = count_frames_to_decode(table, planned)
    assert sum(segment.cost for segment in segments) == total
    assert max(segment.cost for segment in segments) <= total / count + max(
        count_frames_to_decode(table, [gop]) for gop in planned
    )


@given(st.floats(0, 1e6), st.floats(0.1, 1e4))
def test_number_of_segments_follows_the_estimated_time(seconds: float, longest: float) -> None:
    count = segment_count(seconds, longest)
    assert (count == 1) == (seconds <= longest)
    assert count <= MAX_SEGMENTS
    if 1 < count < MAX_SEGMENTS:
        assert seconds / count <= longest


def test_work_over_five_minutes_is_split_into_two_minute_segments() -> None:
    assert [segment_count(seconds, 300) for seconds in (300, 301, 600, 3600, 1e6)] == [1, 3, 5, 30, 64]


def test_minute_of_full_hd_is_not_split_and_an_hour_is() -> None:
    def work_seconds(seconds: int) -> float:
        frames = 30 * seconds
        return usual_work_seconds(
            Planned(Media("mp4", "h264", 1920, 1080, 0, seconds, frames, 30.0, False, frames), 60, frames)
        )

    assert work_seconds(60) < 60
    assert work_seconds(3600) > 300

"""Frame selection equals a slow reference over random frame tables."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.plan.frame_selection import Plan, count_frames_to_decode, group_by_gop, make_plan
from actors.plan.frame_table import FrameTable, build_frame_table
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import (
    AllFrames,
    EveryNth,
    Fps,
    FrameSpec,
    Interval,
    Keyframes,
    Range,
    Sample,
    Scenes,
    Snap,
    Timestamps,
    Uniform,
    parse,
)

HALF_MILLISECOND = Fraction(1, 2000)


def times(table: FrameTable) -> list[Fraction]:
    return [(int(pts) - int(table.pts[0])) * table.time_base for pts in table.pts]


def displayed_at(table: FrameTable, time: Fraction) -> int | None:
    """The displayed frame with the greatest time ≤ time + half a tick, but at most half a millisecond."""
    reach = time + min(table.time_base / 2, HALF_MILLISECOND)
    shown = [index for index, at in enumerate(times(table)) if at <= reach]
    return shown[-1] if shown else None


def requested_times(table: FrameTable, spec: FrameSpec, end: Fraction) -> list[Fraction]:
    start, sample = spec.range.start, spec.sample
    match sample:
        case Fps(fps):
            steps = ((start + k / fps) for k in count())
        case Interval(seconds):
            steps = ((start + k * seconds) for k in count())
        case Uniform(number):
            length = end - start
            return [start + (i + Fraction(1, 2)) * length / number for i in range(number)] if length > 0 else []
        case Timestamps(at):
            return list(at)
        case _:
            raise AssertionError(sample)
    before_end: list[Fraction] = []
    for time in steps:
        if time >= end:
            return before_end
        before_end.append(time)
    raise AssertionError


def reference(table: FrameTable, spec: FrameSpec) -> list[int]:
    """The indexes that the contract selects. After its end a video shows nothing."""
    end = table.end if spec.range.end is None else spec.range.end
    inside = [index for index, time in enumerate(times(table)) if spec.range.start <= time < end]
    match spec.sample:
        case EveryNth(n):
            selected = inside[::n]
        case Keyframes():
            selected = [index for index in inside if table.is_key[index]]
        case AllFrames():
            selected = inside
        case _:
            requested = [time for time in requested_times(table, spec, end) if time < table.end]
            frames = {displayed_at(table, time) for time in requested}
            selected = sorted(frame for frame in frames if frame is not None)
    if spec.snap is Snap.KEYFRAME:
        keys = [index for index in inside if table.is_key[index]]
        at = times(table)
        selected = sorted({min(keys, key=lambda key: (abs(at[key] - at[frame]), key)) for frame in selected if keys})
    return selected[: spec.max_frames]


def indexes(planned: Plan) -> list[int]:
    return [target.index for gop in planned.gops for target in gop.targets]


def seconds(minimum: int, maximum: int) -> st.SearchStrategy[Fraction]:
    return st.integers(minimum * 1000, maximum * 1000).map(lambda value: Fraction(value, 1000))


@st.composite
def tables(draw: st.DrawFn) -> FrameTable:
    base = draw(st.sampled_from([Fraction(1, 1000), Fraction(1, 90_000), Fraction(1001, 30_000), Fraction(1, 30)]))
    max_gap = max(1, int(Fraction(1, 5) / base))
    gaps = draw(st.lists(st.integers(1, max_gap), max_size=40))
    start = draw(st.integers(-(2**33), 2**33))
    pts = [start + sum(gaps[:i]) for i in range(len(gaps) + 1)]
    keys = draw(st.lists(st.booleans(), min_size=len(pts), max_size=len(pts)))
    return build_frame_table(base, pts, is_key=keys, last_duration=draw(st.integers(0, max_gap)))


samples: st.SearchStrategy[Sample] = st.one_of(
    st.builds(Fps, st.fractions(Fraction(1, 10), 200, max_denominator=1001)),
    st.builds(Interval, st.fractions(Fraction(1, 200), 5, max_denominator=1000)),
    st.builds(Uniform, st.integers(1, 100)),
    st.builds(EveryNth, st.integers(1, 20)),
    st.builds(Timestamps, st.lists(seconds(-1, 10), min_size=1, max_size=20).map(lambda at: tuple(sorted(set(at))))),
    st.just(Keyframes()),
    st.just(AllFrames()),
)


@st.composite
def specs(draw: st.DrawFn) -> FrameSpec:
    start = draw(st.one_of(st.just(Fraction(0)), seconds(0, 5)))
    end = draw(st.one_of(st.none(), seconds(1, 10).map(lambda length: start + length)))
    limit = draw(st.one_of(st.none(), st.integers(1, 10)))
    return FrameSpec(draw(samples), Range(start, end), snap=draw(st.sampled_from(Snap)), max_frames=limit)


@given(tables(), specs())
def test_planned_frames_equal_the_reference(table: FrameTable, spec: FrameSpec) -> None:
    expected = reference(table, spec)
    if not expected:
        with pytest.raises(CatalogueError, match="empty_selection"):
            make_plan(table, spec)
        return
    planned = make_plan(table, spec)
    assert indexes(planned) == expected
    assert planned.frames == len(expected)


@given(tables(), specs())
def test_targets_ascend_with_their_own_time_and_key_flag(table: FrameTable, spec: FrameSpec) -> None:
    try:
        planned = make_plan(table, spec)
    except CatalogueError:
        return
    targets = [target for gop in planned.gops for target in gop.targets]
    assert [target.index for target in targets] == sorted({target.index for target in targets})
    for target in targets:
        assert target.pts == table.pts[target.index]
        assert target.key == table.is_key[target.index]


@given(tables(), st.data())
def test_gop_begins_with_the_last_key_frame_at_or_before_its_targets(table: FrameTable, data: st.DataObject) -> None:
    selected = sorted(data.draw(st.sets(st.integers(0, len(table) - 1), min_size=1)))
    gops = group_by_gop(table, selected)
    assert [target.index for gop in gops for target in gop.targets] == selected
    assert len({gop.key_pts for gop in gops}) == len(gops)
    for gop in gops:
        for target in gop.targets:
            keys = [int(pts) for pts, key in zip(table.pts, table.is_key, strict=True) if key and pts <= target.pts]
            assert gop.key_pts == (max(keys) if keys else None)


def constant_rate_table(frames: int = 300, fps: int = 30) -> FrameTable:
    return build_frame_table(
        Fraction(1, fps), list(range(frames)), is_key=[i % 12 == 0 for i in range(frames)], last_duration=1
    )


def selected_indexes(table: FrameTable, text: str) -> list[int]:
    return indexes(make_plan(table, parse(text)))


def test_default_is_one_frame_per_second() -> None:
    assert selected_indexes(constant_rate_table(), "{}") == [0, 30, 60, 90, 120, 150, 180, 210, 240, 270]


def test_planning_time_of_a_huge_rate_depends_only_on_the_frame_count() -> None:
    assert selected_indexes(constant_rate_table(100_000), '{"sample": {"mode": "fps", "fps": 1000000000}}') == list(
        range(100_000)
    )


def test_planning_time_of_a_huge_range_depends_only_on_the_frame_count() -> None:
    text = '{"sample": {"mode": "interval", "seconds": 0.000000001}, "range": {"start": 9, "end": 1000000000}}'
    assert selected_indexes(constant_rate_table(), text) == list(range(270, 300))


def test_planning_time_of_a_billion_uniform_times_depends_only_on_the_frame_count() -> None:
    assert selected_indexes(constant_rate_table(), '{"sample": {"mode": "uniform", "count": 1000000000}}') == list(
        range(300)
    )


def test_millisecond_rounding_of_the_container_shifts_no_frame() -> None:
    rounded = build_frame_table(
        Fraction(1, 1000), [math.floor(i * Fraction(1001, 30) + Fraction(1, 2)) for i in range(90)]
    )
    at = ", ".join(f"{i * 1001 / 30_000:.9f}" for i in range(90))
    assert selected_indexes(rounded, f'{{"sample": {{"mode": "timestamps", "at": [{at}]}}}}') == list(range(90))


def test_coarse_time_base_selects_no_frame_over_half_a_millisecond_early() -> None:
    text = '{"sample": {"mode": "timestamps", "at": [0.99949, 1.9995]}}'
    assert selected_indexes(build_frame_table(Fraction(1), [0, 1, 2]), text) == [0, 2]


def test_video_ends_after_the_last_frames_duration_or_the_median_interval() -> None:
    assert build_frame_table(Fraction(1, 10), [5, 6, 7], last_duration=4).end == Fraction(6, 10)
    assert build_frame_table(Fraction(1, 10), [5, 6, 8, 12]).end == Fraction(9, 10)
    assert build_frame_table(Fraction(1, 10), [0, 1, 4]).end == Fraction(6, 10)


def test_timestamps_outside_of_the_video_are_skipped_with_a_warning() -> None:
    planned = make_plan(constant_rate_table(), parse('{"sample": {"mode": "timestamps", "at": [-1, 3, 10, 99]}}'))
    assert indexes(planned) == [90]
    assert [warning.code for warning in planned.warnings] == ["times_outside_video"]
    assert planned.warnings[0].detail.startswith("3 ")


def test_uniform_times_after_the_end_are_skipped_with_a_warning() -> None:
    planned = make_plan(
        constant_rate_table(), parse('{"sample": {"mode": "uniform", "count": 4}, "range": {"end": 20}}')
    )
    assert indexes(planned) == [75, 225]
    assert [warning.code for warning in planned.warnings] == ["times_outside_video"]


def test_timestamps_do_not_depend_on_the_start_of_the_range() -> None:
    assert selected_indexes(
        constant_rate_table(), '{"sample": {"mode": "timestamps", "at": [1]}, "range": {"start": 5}}'
    ) == [30]


def test_two_timestamps_on_one_frame_give_one_image() -> None:
    assert selected_indexes(constant_rate_table(), '{"sample": {"mode": "timestamps", "at": [1, 1.01, 1.02]}}') == [30]


def test_frame_shown_at_the_range_start_may_begin_before_it() -> None:
    assert selected_indexes(
        constant_rate_table(fps=1), '{"sample": {"mode": "fps", "fps": 1}, "range": {"start": 3.5, "end": 5}}'
    ) == [3, 4]


def test_max_frames_keeps_the_first_frames_and_warns() -> None:
    planned = make_plan(constant_rate_table(), parse('{"max_frames": 2}'))
    assert indexes(planned) == [0, 30]
    assert [warning.code for warning in planned.warnings] == ["max_frames_reached"]
    assert make_plan(constant_rate_table(), parse('{"max_frames": 10}')).warnings == ()


def test_earlier_of_two_equally_near_key_frames_is_taken() -> None:
    text = '{"sample": {"mode": "timestamps", "at": [0.2]}, "snap": "keyframe"}'
    assert selected_indexes(constant_rate_table(), text) == [0]


def test_empty_selection_is_a_request_error() -> None:
    with pytest.raises(CatalogueError, match="empty_selection"):
        make_plan(constant_rate_table(), parse('{"range": {"start": 10}}'))


def test_more_frames_than_the_limit_are_refused() -> None:
    with pytest.raises(CatalogueError, match="too_many_frames"):
        make_plan(constant_rate_table(), FrameSpec(AllFrames()), max_frames=299)
    assert make_plan(constant_rate_table(), FrameSpec(AllFrames()), max_frames=300).frames == 300


def test_starts_of_scenes_are_the_selected_frames() -> None:
    planned = make_plan(constant_rate_table(), FrameSpec(Scenes()), scene_starts=[0, 40, 100])
    assert [target.index for gop in planned.gops for target in gop.targets] == [0, 40, 100]


def test_each_gop_is_decoded_from_its_key_frame_to_its_last_target() -> None:
    table = constant_rate_table()
    keys = [index for index in range(len(table)) if table.is_key[index]]
    planned = group_by_gop(table, [keys[1] + 2, keys[1] + 4, keys[2]])
    assert count_frames_to_decode(table, planned) == 5 + 1

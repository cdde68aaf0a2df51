"""Properties of frame selection that hold for any frame table and any specification."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from actors.plan.frame_selection import make_plan
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
    Snap,
    Timestamps,
    Uniform,
)

seconds = st.integers(0, 8_000).map(lambda value: Fraction(value, 1000))
rates = st.integers(100, 90_000).map(lambda value: Fraction(value, 1000))
frame_modes: st.SearchStrategy[Sample] = st.one_of(st.just(Keyframes()), st.just(AllFrames()))
samples: st.SearchStrategy[Sample] = st.one_of(
    st.builds(Fps, rates),
    st.builds(Interval, st.integers(10, 3_000).map(lambda value: Fraction(value, 1000))),
    st.builds(Uniform, st.integers(1, 60)),
    st.builds(EveryNth, st.integers(1, 12)),
    st.builds(Timestamps, st.lists(seconds, min_size=1, max_size=12).map(lambda at: tuple(sorted(set(at))))),
    frame_modes,
)


@st.composite
def tables(draw: st.DrawFn) -> FrameTable:
    """Up to 60 frames in groups that begin with a key frame, coded in another order than they are shown."""
    base = draw(st.sampled_from([Fraction(1, 1000), Fraction(1, 90_000), Fraction(1001, 24_000), Fraction(1, 25)]))
    max_gap = max(1, int(Fraction(1, 4) / base))
    gaps = draw(st.lists(st.integers(1, max_gap), max_size=59))
    pts = [draw(st.integers(-(2**40), 2**40))]
    for gap in gaps:
        pts.append(pts[-1] + gap)
    keys = [True, *draw(st.lists(st.booleans(), min_size=len(gaps), max_size=len(gaps)))]
    order = draw(st.permutations(range(len(pts))))
    return build_frame_table(base, pts, is_key=keys, decode_order=order, last_duration=draw(st.integers(0, max_gap)))


@st.composite
def specs(draw: st.DrawFn, sampling: st.SearchStrategy[Sample] = samples) -> FrameSpec:
    start = draw(st.one_of(st.just(Fraction(0)), seconds))
    end = draw(st.one_of(st.none(), st.integers(1, 8_000).map(lambda value: start + Fraction(value, 1000))))
    limit = draw(st.one_of(st.none(), st.integers(1, 20)))
    return FrameSpec(draw(sampling), Range(start, end), snap=draw(st.sampled_from(Snap)), max_frames=limit)


def selected_frames(table: FrameTable, spec: FrameSpec) -> list[int]:
    """The indexes of the planned frames; an empty list when nothing is selected."""
    try:
        planned = make_plan(table, spec)
    except CatalogueError as error:
        if error.code == "empty_selection":
            return []
        raise
    return [target.index for gop in planned.gops for target in gop.targets]


@given(tables(), specs())
def test_limit_keeps_the_first_frames_unchanged(table: FrameTable, spec: FrameSpec) -> None:
    whole = selected_frames(table, replace(spec, max_frames=None))
    for limit in {1, 2, len(whole) // 2, len(whole), len(whole) + 1} - {0}:
        assert selected_frames(table, replace(spec, max_frames=limit)) == whole[:limit]


@given(tables(), specs())
def test_snapped_key_frames_are_inside_the_range(table: FrameTable, spec: FrameSpec) -> None:
    snapped = selected_frames(table, replace(spec, snap=Snap.KEYFRAME))
    end = table.end if spec.range.end is None else spec.range.end
    assert all(table.is_key[index] and spec.range.start <= table.time_of(index) < end for index in snapped)


@given(tables(), specs())
def test_snapped_key_frame_is_the_nearest_of_the_range(table: FrameTable, spec: FrameSpec) -> None:
    exact = selected_frames(table, replace(spec, snap=Snap.EXACT, max_frames=None))
    snapped = selected_frames(table, replace(spec, snap=Snap.KEYFRAME, max_frames=None))
    end = table.end if spec.range.end is None else spec.range.end
    keys = [i for i in range(len(table)) if table.is_key[i] and spec.range.start <= table.time_of(i) < end]
    if not keys:
        assert snapped == []
        return
    for index in exact:
        distance = min(abs(table.time_of(key) - table.time_of(index)) for key in keys)
        assert any(abs(table.time_of(key) - table.time_of(index)) == distance for key in snapped)


@given(tables(), specs(frame_modes))
def test_narrower_range_selects_a_subset(table: FrameTable, spec: FrameSpec) -> None:
    """For the modes that select frames and not times."""
    exact = replace(spec, snap=Snap.EXACT, max_frames=None)
    end = table.end if spec.range.end is None else spec.range.end
    whole = selected_frames(table, replace(exact, range=Range()))
    assert selected_frames(table, exact) == [index for index in whole if spec.range.start <= table.time_of(index) < end]


@given(tables(), st.integers(1, 20))
def test_every_1st_selects_all_and_every_step_keeps_the_first_frame(table: FrameTable, n: int) -> None:
    every = selected_frames(table, FrameSpec(AllFrames()))
    assert every == list(range(len(table)))
    assert selected_frames(table, FrameSpec(EveryNth(n))) == every[::n]


@given(tables(), rates)
def test_rate_and_its_interval_select_the_same_frames(table: FrameTable, fps: Fraction) -> None:
    assert selected_frames(table, FrameSpec(Fps(fps))) == selected_frames(table, FrameSpec(Interval(1 / fps)))


@given(tables())
def test_rate_of_one_tick_and_all_timestamps_select_every_frame(table: FrameTable) -> None:
    times = tuple(table.time_of(index) for index in range(len(table)))
    assert selected_frames(table, FrameSpec(Timestamps(times))) == list(range(len(table)))
    assume(table.ticks[-1] < 100_000)
    assert selected_frames(table, FrameSpec(Interval(table.time_base))) == list(range(len(table)))


@given(tables(), st.integers(-(2**40), 2**40), specs())
def test_start_offset_changes_no_selection(table: FrameTable, shift: int, spec: FrameSpec) -> None:
    assert selected_frames(replace(table, pts=table.pts + shift), spec) == selected_frames(table, spec)


@given(tables(), st.lists(specs(), min_size=2, max_size=4))
def test_several_specifications_select_what_each_selects_alone(table: FrameTable, several: list[FrameSpec]) -> None:
    """Planning keeps no state from one specification to the next."""
    alone = [selected_frames(table, spec) for spec in several]
    assert [selected_frames(table, spec) for spec in reversed(several)] == alone[::-1]


@given(tables(), specs())
def test_every_target_is_in_the_gop_of_the_key_frame_before_it(table: FrameTable, spec: FrameSpec) -> None:
    if not selected_frames(table, spec):
        return
    planned = make_plan(table, spec)
    starts = [gop.key_pts for gop in planned.gops]
    assert starts == sorted(set(starts), key=lambda start: -(2**63) if start is None else start)
    assert planned.frames == sum(len(gop.targets) for gop in planned.gops)
    for gop in planned.gops:
        key = None if gop.key_pts is None else table.index_of(gop.key_pts)
        assert key is None or (table.is_key[key] and key <= gop.targets[0].index)
        assert not any(table.is_key[target.index] for target in gop.targets[1:] if target.index != key)

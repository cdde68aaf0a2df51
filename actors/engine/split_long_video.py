"""Decides whether a long video is split into segments, and writes their plan."""

from __future__ import annotations

from actors.container.probe import Probe
from actors.engine.extraction_report import DecodeStats
from actors.engine.plan_file import StoredPlan, manifest_video, time_scale_of, write_plan_file
from actors.engine.result_writer import ResultRequest
from actors.extraction_types import PLAN_FILE, Planned, Split
from actors.plan.decode_deadline import usual_work_seconds
from actors.plan.frame_selection import count_frames_to_decode
from actors.plan.segment_split import segment_count, split_plan
from actors.readers.planned_reader import VERIFIED_CODECS, has_exact_random_access


def split_long_video(
    probed: Probe,
    request: ResultRequest,
    stats: DecodeStats,
    max_task_seconds: float,
    engine: str,
    *,
    sha256: str | None,
) -> Split | None:
    """Writes plan.json and gives the segments; None when the work is short or can't be split. sha256: of the video."""
    table, plan = probed.table, request.plan
    seconds = usual_work_seconds(Planned(probed.media, plan.frames, count_frames_to_decode(table, plan.gops)))
    count = min(segment_count(seconds, max_task_seconds), len(plan.gops))
    if count < 2 or not _can_start_at_key_frames(probed):
        return None
    segments = split_plan(table, plan.gops, count)
    if len(segments) < 2:
        return None
    targets = tuple(request.targets())
    video = manifest_video(probed, sha256, stats)
    stored_plan = StoredPlan(engine, video, time_scale_of(table), targets, request.warnings, stats.seconds)
    write_plan_file(request.out / PLAN_FILE, stored_plan)
    return Split(probed.media, plan.frames, segments)


def _can_start_at_key_frames(probed: Probe) -> bool:
    """Whether a later segment can be decoded without everything before it."""
    if not probed.is_interlaced:
        return has_exact_random_access(probed)
    is_table_exact = not (probed.table.match_by_index or probed.corrupt_packets)
    return is_table_exact and probed.seeks_exactly and probed.media.codec in VERIFIED_CODECS

"""Assembles a result from its segments: every file but the report is the same as `extract` would write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from actors.container.probe import probe
from actors.engine.decode_pass import DecodePass, run_with_pyav
from actors.engine.extraction_report import DecodeStats, ImageCounts, write_report
from actors.engine.plan_file import StoredPlan, read_plan_file
from actors.engine.result_writer import ResultRequest, ResultWriter, WrittenResult
from actors.engine.segment_files import SegmentReport, read_segment_frames, read_segment_report
from actors.extraction_types import (
    REPORT_FILE,
    EngineOptions,
    Extracted,
    OnProgress,
    Planned,
    Progress,
    Reader,
    ResultWarning,
)
from actors.plan.frame_selection import GopTargets, Plan, count_frames_to_decode, group_by_gop
from db.values.frame_spec import FrameSpec


def assemble(
    source: Path,
    plan: Path,
    segments: Sequence[Path],
    spec: FrameSpec,
    out: Path,
    *,
    engine: str,
    options: EngineOptions,
    on_progress: OnProgress,
) -> Extracted:
    """segments: the folders of the segments' files, in time order.

    source: is opened only when PyAV contradicted decord in some segments and not in others. Then PyAV reads all of it.
    Raises CatalogueError of fault file, ChecksumMismatchError, OSError; EngineMismatchError when another engine made
    the plan or a segment.
    """
    stored_plan = read_plan_file(plan, engine)
    reports = [read_segment_report(segment, engine) for segment in segments]
    stats, warnings = _sum_stats(stored_plan, reports), _merge_warnings(reports)
    whole_plan = Plan((GopTargets(None, stored_plan.targets),), len(stored_plan.targets), ())
    request = ResultRequest(spec, whole_plan, out, stored_plan.warnings)
    assembly = _Assembly(stored_plan, request, warnings, options, on_progress, stats)
    if warnings and len({report["reader"] for report in reports}) > 1:
        written = _decode_again(assembly, source)
    else:
        on_progress(Planned(stored_plan.video.media, whole_plan.frames, 0))
        written = _join_segments(assembly, zip(segments, reports, strict=True))
    images = ImageCounts(whole_plan.frames, written.images, written.missing)
    write_report(out / REPORT_FILE, stats, images, av.ffmpeg_version_info, segments=_summaries(reports))
    return Extracted(stored_plan.video.media, written.images, written.size, written.sha256, written.warnings)


@dataclass(frozen=True, slots=True)
class _Assembly:
    """warnings, stats: of all segments."""

    plan: StoredPlan
    request: ResultRequest
    warnings: list[ResultWarning]
    options: EngineOptions
    on_progress: OnProgress
    stats: DecodeStats

    def open_result(self, request: ResultRequest) -> ResultWriter:
        return ResultWriter(request, self.plan.time_scale, self.plan.video)


def _join_segments(assembly: _Assembly, segments: Iterable[tuple[Path, SegmentReport]]) -> WrittenResult:
    missing = []
    with assembly.open_result(assembly.request) as result, assembly.stats.stage("assemble"):
        for folder, report in segments:
            for target, frame in read_segment_frames(folder, report):
                if frame is None:
                    missing.append(target)
                else:
                    result.add(target, frame)
                    assembly.on_progress(Progress(result.image_count))
        return result.finish(missing, assembly.warnings)


def _decode_again(assembly: _Assembly, source: Path) -> WrittenResult:
    probed = probe(source)
    gops = group_by_gop(probed.table, [target.index for target in assembly.plan.targets])
    frames_to_decode = count_frames_to_decode(probed.table, gops)
    assembly.on_progress(Planned(probed.media, assembly.request.plan.frames, frames_to_decode))
    decode_pass = DecodePass(
        probed,
        [assembly.request],
        gops,
        assembly.open_result,
        assembly.options,
        assembly.on_progress,
        assembly.stats,
        assembly.warnings,
    )
    (written,) = run_with_pyav(decode_pass)
    return written


def _merge_warnings(reports: Sequence[SegmentReport]) -> list[ResultWarning]:
    """The warnings of all segments, each once."""
    warnings = [ResultWarning(**warning) for report in reports for warning in report["warnings"]]
    return list(dict.fromkeys(warnings))


def _sum_stats(plan: StoredPlan, reports: Sequence[SegmentReport]) -> DecodeStats:
    """Of planning and all segments together."""
    stats = DecodeStats(displayed=plan.video.media.frames, seconds=dict(plan.seconds))
    stats.reader = Reader.DECORD if all(report["reader"] == Reader.DECORD for report in reports) else Reader.PYAV
    for report in reports:
        stats.decoded += report["decoded"]
        stats.repeated += report["repeated"]
        stats.fallbacks += [fallback for fallback in report["fallbacks"] if fallback not in stats.fallbacks]
        for stage, seconds in report["seconds"].items():
            stats.seconds[stage] = stats.seconds.get(stage, 0.0) + seconds
    return stats


def _summaries(reports: Sequence[SegmentReport]) -> list[dict[str, Any]]:
    """What report.json tells of each segment."""
    return [{name: report[name] for name in ("reader", "sequential", "decoded")} for report in reports]

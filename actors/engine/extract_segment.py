"""Extracts one segment of a long video's plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actors.container.probe import Probe, probe
from actors.engine.checksummed_json import ChecksumMismatchError
from actors.engine.contact_sheet import sheet_targets
from actors.engine.decode_pass import DecodePass, run_decode_pass
from actors.engine.extraction_report import DecodeStats
from actors.engine.plan_file import read_plan_file
from actors.engine.result_writer import ResultRequest
from actors.engine.segment_files import SegmentWriter, write_segment_report
from actors.extraction_types import EngineOptions, OnProgress, Planned, SegmentExtracted
from actors.plan.frame_selection import Plan, Target, count_frames_to_decode, group_by_gop
from db.values.frame_spec import FrameSpec
from db.values.segment import Segment


def extract_segment(
    source: Path,
    plan: Path,
    segment: Segment,
    spec: FrameSpec,
    out: Path,
    *,
    engine: str,
    options: EngineOptions,
    on_progress: OnProgress,
) -> SegmentExtracted:
    """Writes the segment's files into the folder `out`. plan: plan.json.

    Raises CatalogueError of fault file; OSError; ChecksumMismatchError when plan or video changed since planning;
    EngineMismatchError when another engine made the plan.
    """
    stored_plan, stats = read_plan_file(plan, engine), DecodeStats()
    with stats.stage("probe"):
        probed = probe(source)
    targets = stored_plan.targets[segment.first : segment.stop]
    _check_times(probed, targets)
    gops = group_by_gop(probed.table, [target.index for target in targets])
    request = ResultRequest(spec, Plan(gops, len(targets), ()), out)
    sheet_pts = {target.pts for target in sheet_targets(stored_plan.targets)}
    on_progress(Planned(probed.media, len(targets), count_frames_to_decode(probed.table, gops)))

    def open_output(request: ResultRequest) -> SegmentWriter:
        return SegmentWriter(request, sheet_pts, stored_plan, options.preview_seconds)

    decode_pass = DecodePass(probed, [request], gops, open_output, options, on_progress, stats)
    (written,) = run_decode_pass(decode_pass)
    write_segment_report(out, engine, stats, written.warnings, sequential=options.sequential)
    return SegmentExtracted(written.images)


def _check_times(probed: Probe, targets: Sequence[Target]) -> None:
    pts = probed.table.pts
    if any(target.index >= len(pts) or int(pts[target.index]) != target.pts for target in targets):
        raise ChecksumMismatchError("the video")

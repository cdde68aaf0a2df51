"""The engine's entry: one video and a specification become frames.zip, manifests, a contact sheet and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from actors.container.probe import Probe, probe
from actors.engine.decode_pass import DecodePass, pyav_reader, reason_against_decord, run_decode_pass
from actors.engine.extraction_report import DecodeStats, ImageCounts, write_report
from actors.engine.plan_file import manifest_video, time_scale_of
from actors.engine.result_writer import ResultRequest, ResultWriter
from actors.engine.scene_detection import detect_scenes
from actors.engine.split_long_video import split_long_video
from actors.extraction_types import (
    REPORT_FILE,
    DetectingScenes,
    EngineOptions,
    Extracted,
    OnProgress,
    Planned,
    Reader,
    Split,
)
from actors.plan.frame_selection import (
    GopTargets,
    Plan,
    count_frames_to_decode,
    frames_in_range,
    group_by_gop,
    make_plan,
)
from db.values.frame_spec import FrameSpec, Scenes

DEFAULT_OPTIONS = EngineOptions()


def extract(
    source: Path,
    spec: FrameSpec,
    out: Path,
    *,
    options: EngineOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress = lambda event: None,
) -> Extracted:
    """Writes frames.zip, manifest.json, manifest.csv, sheet.jpg, sheet.vtt and report.json into the folder `out`.

    on_progress: is called with Planned before the first image, and with Progress after each image. When scenes have to
    be detected first, it is called with DetectingScenes before.
    Raises CatalogueError of fault request or file; OSError when `out` can't be written.
    """
    (extracted,) = extract_many(source, [(spec, out)], options=options, on_progress=on_progress)
    return extracted


def extract_many(
    source: Path,
    requests: Sequence[tuple[FrameSpec, Path]],
    *,
    options: EngineOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress = lambda event: None,
) -> list[Extracted]:
    """Several specifications over one video, decoded once. Each folder gets what `extract` alone would write.

    Planned and Progress count the images of all requests. All or nothing: raises the first error of any request.
    """
    stats = DecodeStats()
    probed = _probe(source, stats)
    result_requests = [
        _request(probed, spec, out, _plan(probed, spec, options, on_progress, stats)) for spec, out in requests
    ]
    return _extract(probed, result_requests, options, on_progress, stats)


def extract_or_split(
    source: Path,
    spec: FrameSpec,
    out: Path,
    *,
    max_task_seconds: float,
    engine: str,
    sha256: str | None = None,
    options: EngineOptions,
    on_progress: OnProgress,
) -> Extracted | Split:
    """As `extract`, but work that usually takes longer than `max_task_seconds` is only planned when it can be split and
    no GPU decodes it.

    `out` then gets plan.json, with the name of the engine that is to make the segments. sha256: of the source; None: it
    is computed.
    """
    stats = DecodeStats()
    probed = _probe(source, stats)
    request = _request(probed, spec, out, _plan(probed, spec, options, on_progress, stats))
    split = None
    if options.reader is not Reader.GPU or reason_against_decord(probed, options):
        split = split_long_video(probed, request, stats, max_task_seconds, engine, sha256=sha256)
    return split or _extract(probed, [request], options, on_progress, stats, sha256=sha256)[0]


def _extract(
    probed: Probe,
    requests: Sequence[ResultRequest],
    options: EngineOptions,
    on_progress: OnProgress,
    stats: DecodeStats,
    *,
    sha256: str | None = None,
) -> list[Extracted]:
    gops, time_scale = _union_of_targets(probed, requests), time_scale_of(probed.table)
    frames_total = sum(request.plan.frames for request in requests)
    on_progress(Planned(probed.media, frames_total, count_frames_to_decode(probed.table, gops)))
    video = manifest_video(probed, sha256, stats)

    def open_result(request: ResultRequest) -> ResultWriter:
        return ResultWriter(request, time_scale, video, options.preview_seconds)

    results = run_decode_pass(DecodePass(probed, requests, gops, open_result, options, on_progress, stats))
    for request, written in zip(requests, results, strict=True):
        images = ImageCounts(request.plan.frames, written.images, written.missing)
        write_report(request.out / REPORT_FILE, stats, images, av.ffmpeg_version_info)
    return [
        Extracted(probed.media, written.images, written.size, written.sha256, written.warnings) for written in results
    ]


def _probe(source: Path, stats: DecodeStats) -> Probe:
    with stats.stage("probe"):
        probed = probe(source)
    stats.displayed = len(probed.table)
    return probed


def _request(probed: Probe, spec: FrameSpec, out: Path, plan: Plan) -> ResultRequest:
    return ResultRequest(spec, plan, out, (*probed.warnings, *plan.warnings))


def _plan(probed: Probe, spec: FrameSpec, options: EngineOptions, on_progress: OnProgress, stats: DecodeStats) -> Plan:
    table, scene_starts = probed.table, []
    if isinstance(spec.sample, Scenes):
        frames = frames_in_range(table, spec)
        on_progress(DetectingScenes(probed.media, frames.stop))
        with stats.stage("scan"):
            scene_starts = detect_scenes(pyav_reader(probed, options), table, frames, spec.sample.threshold)
    with stats.stage("plan"):
        return make_plan(table, spec, max_frames=options.max_frames, scene_starts=scene_starts)


def _union_of_targets(probed: Probe, requests: Sequence[ResultRequest]) -> Sequence[GopTargets]:
    if len(requests) == 1:
        return requests[0].plan.gops
    indexes = np.unique([target.index for request in requests for target in request.targets()])
    return group_by_gop(probed.table, indexes.tolist())

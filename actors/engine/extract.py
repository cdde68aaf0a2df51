"""The engine: one video and a specification become frames.zip, its manifests, a contact sheet and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from actors.container.probe import Probe, probe
from actors.engine.decode_pass import DecodePass, OnProgress, pyav_reader, run_pass
from actors.engine.extract_segment import plan_segments
from actors.engine.extraction_report import Decoding, Images, write_report
from actors.engine.plan_file import time_scale_of
from actors.engine.result_writer import ResultRequest, ResultWriter
from actors.engine.scene_detection import shots
from actors.extraction_types import (
    ENGINE_VERSION,
    REPORT,
    Extracted,
    Options,
    Planned,
    Progress,
    Reader,
    ResultWarning,
    Scanning,
    Split,
)
from actors.plan.frame_selection import GopTargets, Plan, gop_targets, in_range, plan, to_decode
from db.values.frame_spec import FrameSpec, Scenes

__all__ = [
    "ENGINE_VERSION",
    "Extracted",
    "Options",
    "Planned",
    "Progress",
    "Reader",
    "ResultWarning",
    "Scanning",
    "Split",
    "extract",
    "extract_many",
    "extract_or_split",
]

DEFAULTS = Options()


def extract(
    source: Path,
    spec: FrameSpec,
    out: Path,
    *,
    options: Options = DEFAULTS,
    tell: OnProgress = lambda news: None,
) -> Extracted:
    """Writes frames.zip, manifest.json, manifest.csv, sheet.jpg, sheet.vtt and report.json into the folder `out`.

    tell: is called with Planned before the first image is made, then with Progress after each; before Planned with
    Scanning when shots have to be found first.
    Raises FotogramaError of fault request or file; OSError when `out` can't be written.
    """
    (extracted,) = extract_many(source, [(spec, out)], options=options, tell=tell)
    return extracted


def extract_many(
    source: Path,
    wanted: Sequence[tuple[FrameSpec, Path]],
    *,
    options: Options = DEFAULTS,
    tell: OnProgress = lambda news: None,
) -> list[Extracted]:
    """Several specifications over one video, decoded once; each folder gets what `extract` alone would write.

    Planned and Progress count the images of all. All or nothing: raises the first error that one of them has.
    """
    decoding = Decoding()
    probed = _probed(source, decoding)
    orders = [_order(probed, spec, out, _plan(probed, spec, options, tell, decoding)) for spec, out in wanted]
    return _extract(probed, orders, options, tell, decoding)


def extract_or_split(
    source: Path, spec: FrameSpec, out: Path, *, longest: float, engine: str, options: Options, tell: OnProgress
) -> Extracted | Split:
    """As `extract`; but when the work usually takes more than `longest` seconds and can be divided, it is only planned:
    `out` gets plan.json, which carries the name of the engine."""
    decoding = Decoding()
    probed = _probed(source, decoding)
    order = _order(probed, spec, out, _plan(probed, spec, options, tell, decoding))
    split = plan_segments(probed, order, decoding, longest, engine)
    return split or _extract(probed, [order], options, tell, decoding)[0]


def _extract(
    probed: Probe, orders: Sequence[ResultRequest], options: Options, tell: OnProgress, decoding: Decoding
) -> list[Extracted]:
    together, timeline = _union(probed, orders), time_scale_of(probed.table)
    total = sum(order.plan.frames for order in orders)
    tell(Planned(probed.media, total, to_decode(probed.table, together)))

    def result(order: ResultRequest) -> ResultWriter:
        return ResultWriter(order, timeline, probed.media)

    finished = run_pass(DecodePass(probed, orders, together, result, options, tell, decoding))
    for order, end in zip(orders, finished, strict=True):
        images = Images(order.plan.frames, end.images, end.missing)
        write_report(order.out / REPORT, decoding, images, av.ffmpeg_version_info)
    return [Extracted(probed.media, end.images, end.size, end.sha256, end.warnings) for end in finished]


def _probed(source: Path, decoding: Decoding) -> Probe:
    with decoding.stage("probe"):
        probed = probe(source)
    decoding.table = len(probed.table)
    return probed


def _order(probed: Probe, spec: FrameSpec, out: Path, planned: Plan) -> ResultRequest:
    return ResultRequest(spec, planned, out, (*probed.warnings, *planned.warnings))


def _plan(probed: Probe, spec: FrameSpec, options: Options, tell: OnProgress, decoding: Decoding) -> Plan:
    table, found = probed.table, []
    if isinstance(spec.sample, Scenes):
        frames = in_range(table, spec)
        tell(Scanning(probed.media, frames.stop))
        with decoding.stage("scan"):
            found = shots(pyav_reader(probed, options), table, frames, spec.sample.threshold)
    with decoding.stage("plan"):
        return plan(table, spec, limit=options.max_frames, shots=found)


def _union(probed: Probe, orders: Sequence[ResultRequest]) -> Sequence[GopTargets]:
    if len(orders) == 1:
        return orders[0].plan.gops
    indexes = np.unique([target.index for order in orders for target in order.targets()])
    return gop_targets(probed.table, indexes.tolist())

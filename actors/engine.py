"""The engine: one video and a specification become frames.zip, its manifests, a contact sheet and a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from actors.extraction import (
    ENGINE_VERSION,
    Extracted,
    Options,
    Planned,
    Progress,
    Reader,
    ResultWarning,
    Scanning,
)
from actors.plan import Plan, Segment, Target, in_range, plan, segments, to_decode
from actors.probe import Probe, probe
from actors.readers.fields import FieldsReader
from actors.readers.planned import PlannedReader
from actors.readers.proof import DisagreementError, proved
from actors.readers.pyav import PyavReader
from actors.readers.reader import FrameReader, ReaderFailedError
from actors.report import Decoding, Images, write_report
from actors.result import Finished, Made, Order, Result, Workshop
from actors.scenes import shots
from actors.upright import Geometry
from db.spec import FrameSpec, Image, Scenes

__all__ = [
    "ENGINE_VERSION",
    "Extracted",
    "Options",
    "Planned",
    "Progress",
    "Reader",
    "ResultWarning",
    "Scanning",
    "extract",
    "extract_many",
]

DEFAULTS = Options()
GPU_CONTROL = Path("/dev/nvidiactl")
FALLBACK = ResultWarning("reader_fallback", "decord is not used for this file; PyAV read it.")
DISAGREED = ResultWarning("decord_disagreed", "decord gave another picture than PyAV; PyAV read the whole file.")
Tell = Callable[[Scanning | Planned | Progress], None]


def extract(
    source: Path,
    spec: FrameSpec,
    out: Path,
    *,
    options: Options = DEFAULTS,
    tell: Tell = lambda news: None,
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
    tell: Tell = lambda news: None,
) -> list[Extracted]:
    """Several specifications over one video, decoded once; each folder gets what `extract` alone would write.

    Planned and Progress count the images of all. All or nothing: raises the first error that one of them has.
    """
    decoding = Decoding()
    with decoding.stage("probe"):
        probed = probe(source)
    decoding.table = len(probed.table)
    orders = [Order(spec, _plan(probed, spec, options, tell, decoding), out) for spec, out in wanted]
    together = _union(probed, orders)
    total = sum(order.plan.frames for order in orders)
    tell(Planned(probed.media, total, to_decode(probed.table, together)))
    job = _Job(probed, orders, together, options, tell, decoding)
    finished = _with_decord(job) or _with_pyav(job)
    for order, result in zip(orders, finished, strict=True):
        images = Images(order.plan.frames, result.images, result.missing)
        write_report(order.out / "report.json", decoding, images, av.ffmpeg_version_info)
    return [Extracted(probed.media, end.images, end.size, end.sha256, end.warnings) for end in finished]


def _plan(probed: Probe, spec: FrameSpec, options: Options, tell: Tell, decoding: Decoding) -> Plan:
    table, found = probed.table, []
    if isinstance(spec.sample, Scenes):
        frames = in_range(table, spec)
        tell(Scanning(probed.media, frames.stop))
        with decoding.stage("scan"):
            found = shots(_pyav(probed, options), table, frames, spec.sample.threshold)
    with decoding.stage("plan"):
        return plan(table, spec, limit=options.max_frames, shots=found)


def _union(probed: Probe, orders: Sequence[Order]) -> Sequence[Segment]:
    if len(orders) == 1:
        return orders[0].plan.segments
    indexes = np.unique([target.index for order in orders for target in order.targets()])
    return segments(probed.table, indexes.tolist())


@dataclass(frozen=True, slots=True)
class _Job:
    """segments: of all orders together."""

    probe: Probe
    orders: Sequence[Order]
    segments: Sequence[Segment]
    options: Options
    tell: Tell
    decoding: Decoding
    warnings: list[ResultWarning] = field(default_factory=list)


def _with_decord(job: _Job) -> list[Finished] | None:
    """None when decord is not wanted or did not do; then the report says why."""
    options = job.options
    if options.careful or not (options.reader is Reader.DECORD or (options.reader is Reader.AUTO and _has_gpu())):
        return None
    # Only now: decord's import costs a tenth of a second and 40 MB, and it is rarely asked for.
    from actors.readers.decord import DecordReader, graphics_device, outside_envelope  # noqa: PLC0415

    device = graphics_device()
    if device is None and options.reader is Reader.AUTO:
        return None
    if reason := outside_envelope(job.probe):
        if options.reader is Reader.DECORD:
            _fall_back(job, FALLBACK, f"{reason} is outside of decord's envelope")
        return None
    try:
        with job.decoding.stage("open"):
            reader = DecordReader(job.probe, threads=options.threads, device=device)
        job.decoding.reader = Reader.DECORD
        return _write(job, reader)
    except ReaderFailedError as error:
        _fall_back(job, FALLBACK, str(error))
    except DisagreementError as error:
        _fall_back(job, DISAGREED, str(error))
    return None


def _has_gpu() -> bool:
    """Whether NVIDIA's driver shows a device; decord alone knows whether its build can use it."""
    return GPU_CONTROL.exists()


def _fall_back(job: _Job, warning: ResultWarning, reason: str) -> None:
    """The warning stands in the archive and says nothing that may differ from run to run; the report does."""
    job.decoding.reader = Reader.PYAV
    job.warnings.append(warning)
    job.decoding.fallbacks.append({"code": warning.code, "reason": reason})


def _with_pyav(job: _Job) -> list[Finished]:
    reader = _pyav(job.probe, job.options)
    return _write(job, FieldsReader(reader, job.probe.table) if job.probe.interlaced else reader)


def _pyav(probed: Probe, options: Options) -> FrameReader:
    if options.careful or probed.interlaced:
        return PyavReader(probed, threads=options.threads, careful=options.careful)
    return PlannedReader(probed, threads=options.threads)


def _write(job: _Job, reader: FrameReader) -> list[Finished]:
    """Reads, renders and stores one frame after the other."""
    decoding = job.decoding
    with ExitStack() as stack:
        results = [stack.enter_context(Result(order, job.probe)) for order in job.orders]
        workshop = Workshop(results, Geometry() if reader.upright else job.probe.geometry, job.probe)
        for target, images in _timed(decoding, _images(job, reader, workshop)):
            with decoding.stage("archive"):
                for result in results:
                    if result.wants(target.pts):
                        result.add(target, images[result.order.spec.image])
            job.tell(Progress(sum(result.images for result in results)))
        decoding.decoded, decoding.repeated = reader.decoded, reader.repeated
        with decoding.stage("archive"):
            return [
                result.finish(reader.missing, [*job.probe.warnings, *result.order.plan.warnings, *job.warnings])
                for result in results
            ]


_Images = dict[Image, Made]
"""Of one frame, by how they were wanted."""


def _images(job: _Job, reader: FrameReader, workshop: Workshop) -> Iterator[tuple[Target, _Images]]:
    def finish(frame: VideoFrame) -> _Images:
        with job.decoding.stage("encode"):
            return workshop.make(frame)

    if job.decoding.reader is not Reader.DECORD:
        return reader.read(job.segments, finish)
    return proved(reader, job.probe, job.segments, finish, threads=job.options.threads)


def _timed(decoding: Decoding, images: Iterator[tuple[Target, _Images]]) -> Iterator[tuple[Target, _Images]]:
    """The same images; counts the time that each took to come."""
    while True:
        with decoding.stage("read"):
            item = next(images, None)
        if item is None:
            return
        yield item

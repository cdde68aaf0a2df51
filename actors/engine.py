"""The engine: one video and one specification become frames.zip, its manifests and a report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import av
from av.video.frame import VideoFrame

from actors.archive import Archive
from actors.extraction import (
    ENGINE_VERSION,
    Extracted,
    Options,
    Planned,
    Progress,
    Reader,
    ResultWarning,
)
from actors.images import Renderer, jpeg
from actors.plan import Plan, Target, plan, refuse_unsupported
from actors.probe import Probe, probe
from actors.readers.decord import DecordReader, ReaderFailedError, outside_envelope
from actors.readers.proof import DisagreementError, proved
from actors.readers.pyav import PyavReader
from actors.readers.reader import FrameReader
from actors.upright import Geometry
from db.errors import FotogramaError
from db.spec import FrameSpec

__all__ = ["ENGINE_VERSION", "Extracted", "Options", "Planned", "Progress", "Reader", "ResultWarning", "extract"]

DEFAULTS = Options()
FALLBACK = ResultWarning("reader_fallback", "decord is not used for this file; PyAV read it.")
DISAGREED = ResultWarning("decord_disagreed", "decord gave another picture than PyAV; PyAV read the whole file.")
Tell = Callable[[Planned | Progress], None]


@dataclass(slots=True)
class _Report:
    """seconds: by stage. decoded: frames that came out of the reader that made the result."""

    reader: Reader = Reader.PYAV
    warnings: list[ResultWarning] = field(default_factory=list)
    fallbacks: list[dict[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    table: int = 0
    planned: int = 0
    decoded: int = 0
    missing: int = 0
    repeated: int = 0
    given: int = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def extract(
    source: Path,
    spec: FrameSpec,
    out: Path,
    *,
    options: Options = DEFAULTS,
    tell: Tell = lambda news: None,
) -> Extracted:
    """Writes frames.zip, manifest.json, manifest.csv and report.json into the folder `out`.

    tell: is called with Planned before the first frame is decoded, then with Progress after each image.
    Raises FotogramaError of fault request or file; OSError when `out` can't be written.
    """
    refuse_unsupported(spec)
    report = _Report()
    with report.stage("probe"):
        probed = probe(source)
    with report.stage("plan"):
        planned = plan(probed.table, spec, limit=options.max_frames)
    report.table, report.planned = len(probed.table), planned.frames
    tell(Planned(probed.media, planned.frames))
    job = _Job(probed, planned, spec, out, options, tell, report)
    size, digest, warnings = _with_decord(job) or _with_pyav(job)
    _write_report(out / "report.json", report)
    return Extracted(probed.media, report.given, size, digest, warnings)


@dataclass(frozen=True, slots=True)
class _Job:
    probe: Probe
    plan: Plan
    spec: FrameSpec
    out: Path
    options: Options
    tell: Tell
    report: _Report


_Result = tuple[int, str, tuple[ResultWarning, ...]]
"""Of frames.zip: bytes and SHA-256; and the warnings."""


def _with_decord(job: _Job) -> _Result | None:
    """None when decord is not wanted or did not do; then the report says why."""
    if job.options.reader is not Reader.DECORD or job.options.careful:
        return None
    if reason := outside_envelope(job.probe):
        _fall_back(job, FALLBACK, f"{reason} is outside of decord's envelope")
        return None
    try:
        with job.report.stage("open"):
            reader = DecordReader(job.probe, threads=job.options.threads)
        job.report.reader = Reader.DECORD
        return _write(job, reader)
    except ReaderFailedError as error:
        _fall_back(job, FALLBACK, str(error))
    except DisagreementError as error:
        _fall_back(job, DISAGREED, str(error))
    return None


def _fall_back(job: _Job, warning: ResultWarning, reason: str) -> None:
    """The warning stands in the archive and says nothing that may differ from run to run; the report does."""
    job.report.reader = Reader.PYAV
    job.report.warnings.append(warning)
    job.report.fallbacks.append({"code": warning.code, "reason": reason})


def _with_pyav(job: _Job) -> _Result:
    return _write(job, PyavReader(job.probe, threads=job.options.threads, careful=job.options.careful))


def _write(job: _Job, reader: FrameReader) -> _Result:
    """Reads, renders and stores one frame after the other."""
    report, image = job.report, job.spec.image
    geometry = job.probe.geometry
    renderer = Renderer(Geometry() if reader.upright else geometry, image.max_side)
    with Archive(job.out, job.spec, job.probe.table.time_base) as archive:
        for target, frame in _timed(report, _frames(job, reader)):
            with report.stage("encode"):
                picture = renderer.render(frame)
                data = jpeg(picture, image.quality)
            with report.stage("archive"):
                time_of_frame = job.probe.table.time(target.index)
                size = (picture.width, picture.height)
                archive.add(data, size, index=target.index, pts=target.pts, time=time_of_frame, key=target.key)
            job.tell(Progress(archive.frames))
        report.decoded, report.repeated = reader.decoded, reader.repeated
        report.missing, report.given = len(reader.missing), archive.frames
        if not archive.frames:
            raise FotogramaError("undecodable", f"None of the {job.plan.frames} frames can be decoded with certainty.")
        warnings = (*job.probe.warnings, *job.plan.warnings, *report.warnings, *_missing(job, reader))
        with report.stage("archive"):
            size_bytes, digest = archive.finish(warnings)
    return size_bytes, digest, warnings


def _frames(job: _Job, reader: FrameReader) -> Iterator[tuple[Target, VideoFrame]]:
    frames = reader.read(job.plan.segments)
    if job.report.reader is not Reader.DECORD:
        return frames
    return proved(frames, job.probe, job.plan.segments, upright=reader.upright, threads=job.options.threads)


def _timed(report: _Report, frames: Iterator[tuple[Target, VideoFrame]]) -> Iterator[tuple[Target, VideoFrame]]:
    """The same frames; the time that each took to come counts as decoding."""
    while True:
        with report.stage("decode"):
            item = next(frames, None)
        if item is None:
            return
        yield item


def _missing(job: _Job, reader: FrameReader) -> tuple[ResultWarning, ...]:
    if not reader.missing:
        return ()
    first = float(job.probe.table.time(min(target.index for target in reader.missing)))
    count = f"{len(reader.missing)} of {job.plan.frames} frames"
    detail = f"{count} could not be decoded with certainty and are left out, the first at {first:.3f} s."
    return (ResultWarning("frames_missing", detail),)


def _write_report(path: Path, report: _Report) -> None:
    document = {
        "reader": report.reader,
        "engine_version": ENGINE_VERSION,
        "libraries": {name: version(name) for name in ("av", "decord2", "numpy", "simplejpeg")}
        | {"ffmpeg": av.ffmpeg_version_info},
        "fallbacks": report.fallbacks,
        "frames": {
            "table": report.table,
            "planned": report.planned,
            "decoded": report.decoded,
            "given": report.given,
            "missing": report.missing,
            "repeated": report.repeated,
        },
        "seconds": {name: round(seconds, 3) for name, seconds in report.seconds.items()},
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

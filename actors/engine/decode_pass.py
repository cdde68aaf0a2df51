"""One pass over a video: the reader that is wanted, what it falls back to, and the images on the way to the outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from av.video.frame import VideoFrame

from actors.container.display_geometry import DisplayGeometry
from actors.container.probe import Probe
from actors.engine.extraction_report import Decoding
from actors.engine.result_writer import EncodedFrame, FrameEncoder, OutputWriter, ResultRequest, WrittenResult
from actors.extraction_types import Options, Planned, Progress, Reader, ResultWarning, Scanning
from actors.plan.frame_selection import GopTargets, Target
from actors.readers.deinterlace import DeinterlacingReader
from actors.readers.frame_reader import FrameReader, ReaderFailedError
from actors.readers.planned_reader import PlannedReader
from actors.readers.sequential_reader import SequentialReader
from actors.readers.verify_frames import DisagreementError, verified
from db.values.frame_spec import Image

GPU_CONTROL = Path("/dev/nvidiactl")
FALLBACK = ResultWarning("reader_fallback", "decord is not used for this file; PyAV read it.")
DISAGREED = ResultWarning("decord_disagreed", "decord gave another picture than PyAV; PyAV read the whole file.")
OnProgress = Callable[[Scanning | Planned | Progress], None]


@dataclass(frozen=True, slots=True)
class DecodePass:
    """One pass over a video for all orders. gops: the targets of all orders together. open: makes an order's output,
    anew when another reader begins from the start."""

    probe: Probe
    orders: Sequence[ResultRequest]
    gops: Sequence[GopTargets]
    open: Callable[[ResultRequest], OutputWriter]
    options: Options
    tell: OnProgress
    decoding: Decoding
    warnings: list[ResultWarning] = field(default_factory=list)


def run_pass(work: DecodePass) -> list[WrittenResult]:
    """What became of each order. Raises FotogramaError of fault file, OSError."""
    return _with_decord(work) or with_pyav(work)


def _with_decord(work: DecodePass) -> list[WrittenResult] | None:
    """None when decord is not wanted or did not do; then the report says why."""
    options = work.options
    if options.careful or not (options.reader is Reader.DECORD or (options.reader is Reader.AUTO and _has_gpu())):
        return None
    # Only now: decord's import costs a tenth of a second and 40 MB, and it is rarely asked for.
    from actors.readers.decord_reader import DecordReader, graphics_device, outside_envelope  # noqa: PLC0415

    device = graphics_device()
    if device is None and options.reader is Reader.AUTO:
        return None
    if reason := outside_envelope(work.probe):
        if options.reader is Reader.DECORD:
            _fall_back(work, FALLBACK, f"{reason} is outside of decord's envelope")
        return None
    try:
        with work.decoding.stage("open"):
            reader = DecordReader(work.probe, threads=options.threads, device=device)
        work.decoding.reader = Reader.DECORD
        return _write(work, reader)
    except ReaderFailedError as error:
        _fall_back(work, FALLBACK, str(error))
    except DisagreementError as error:
        _fall_back(work, DISAGREED, str(error))
    return None


def _has_gpu() -> bool:
    """Whether NVIDIA's driver shows a device; decord alone knows whether its build can use it."""
    return GPU_CONTROL.exists()


def _fall_back(work: DecodePass, warning: ResultWarning, reason: str) -> None:
    """The warning stands in the archive and says nothing that may differ from run to run; the report does."""
    work.decoding.reader = Reader.PYAV
    work.warnings.append(warning)
    work.decoding.fallbacks.append({"code": warning.code, "reason": reason})


def with_pyav(work: DecodePass) -> list[WrittenResult]:
    """As `run_pass`, whatever reader is wanted."""
    reader = pyav_reader(work.probe, work.options)
    return _write(work, DeinterlacingReader(reader, work.probe.table) if work.probe.is_interlaced else reader)


def pyav_reader(probed: Probe, options: Options) -> FrameReader:
    if options.careful or probed.is_interlaced:
        return SequentialReader(probed, threads=options.threads, careful=options.careful)
    return PlannedReader(probed, threads=options.threads)


def _write(work: DecodePass, reader: FrameReader) -> list[WrittenResult]:
    """Reads, renders and stores one frame after the other."""
    decoding = work.decoding
    with ExitStack() as stack:
        outputs = [stack.enter_context(work.open(order)) for order in work.orders]
        workshop = FrameEncoder(outputs, DisplayGeometry() if reader.upright else work.probe.geometry, work.probe.media)
        for target, images in _timed(decoding, _images(work, reader, workshop)):
            with decoding.stage("archive"):
                for output in outputs:
                    if output.wants(target.pts):
                        output.add(target, images[output.order.spec.image])
            work.tell(Progress(sum(output.images for output in outputs)))
        decoding.decoded, decoding.repeated = reader.decoded, reader.repeated
        with decoding.stage("archive"):
            return [output.finish(reader.missing, work.warnings) for output in outputs]


_Images = dict[Image, EncodedFrame]
"""Of one frame, by how they were wanted."""


def _images(work: DecodePass, reader: FrameReader, workshop: FrameEncoder) -> Iterator[tuple[Target, _Images]]:
    def finish(frame: VideoFrame) -> _Images:
        with work.decoding.stage("encode"):
            return workshop.make(frame)

    if work.decoding.reader is not Reader.DECORD:
        return reader.read(work.gops, finish)
    return verified(reader, work.probe, work.gops, finish, threads=work.options.threads)


def _timed(decoding: Decoding, images: Iterator[tuple[Target, _Images]]) -> Iterator[tuple[Target, _Images]]:
    """The same images; counts the time that each took to come."""
    while True:
        with decoding.stage("read"):
            item = next(images, None)
        if item is None:
            return
        yield item

"""One decode pass over a video: chooses the reader, falls back to PyAV, and sends images to the outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from av.video.frame import VideoFrame

from actors.container.display_geometry import DisplayGeometry
from actors.container.probe import Probe
from actors.engine.extraction_report import DecodeStats
from actors.engine.frame_encoder import FrameEncoder
from actors.engine.result_writer import EncodedFrame, OutputWriter, ResultRequest, WrittenResult
from actors.extraction_types import EngineOptions, OnProgress, Progress, Reader, ResultWarning
from actors.plan.frame_selection import GopTargets, Target
from actors.readers.decord_envelope import unsupported_feature, unsupported_on_gpu
from actors.readers.decord_verification import FrameMismatchError, read_verified
from actors.readers.deinterlace import DeinterlacingReader
from actors.readers.frame_reader import FrameReader, ReaderFailedError
from actors.readers.planned_reader import PlannedReader
from actors.readers.sequential_reader import SequentialReader
from db.values.frame_spec import Image

READER_FALLBACK = ResultWarning("reader_fallback", "decord is not used for this file; PyAV read it.")
DECORD_DISAGREED = ResultWarning("decord_disagreed", "decord gave another picture than PyAV; PyAV read the whole file.")
GPU_FALLBACK = ResultWarning("gpu_fallback", "The GPU did not decode this file; the processor did.")
_DECORD_READERS = {Reader.DECORD, Reader.GPU}

_FrameImages = dict[Image, EncodedFrame]
"""The images of one frame by their settings."""


@dataclass(frozen=True, slots=True)
class DecodePass:
    """One pass over a video for all requests. gops: the targets of all requests together. open_output: opens a
    request's output; it is called again when another reader starts over."""

    probe: Probe
    requests: Sequence[ResultRequest]
    gops: Sequence[GopTargets]
    open_output: Callable[[ResultRequest], OutputWriter]
    options: EngineOptions
    on_progress: OnProgress
    stats: DecodeStats
    warnings: list[ResultWarning] = field(default_factory=list)


def run_decode_pass(decode_pass: DecodePass) -> list[WrittenResult]:
    """The result of each request. Raises CatalogueError of fault file, OSError."""
    return _run_with_decord(decode_pass) or run_with_pyav(decode_pass)


def run_with_pyav(decode_pass: DecodePass) -> list[WrittenResult]:
    """As `run_decode_pass`, whatever reader the options name."""
    reader = pyav_reader(decode_pass.probe, decode_pass.options)
    if decode_pass.probe.is_interlaced:
        reader = DeinterlacingReader(reader, decode_pass.probe.table)
    return _read_and_write(decode_pass, reader)


def pyav_reader(probed: Probe, options: EngineOptions) -> FrameReader:
    if options.sequential or probed.is_interlaced:
        return SequentialReader(probed, threads=options.threads, full_pass_only=options.sequential)
    return PlannedReader(probed, threads=options.threads)


def _run_with_decord(decode_pass: DecodePass) -> list[WrittenResult] | None:
    """None when the options don't ask for decord, or when it fails; then the report says why."""
    options, stats = decode_pass.options, decode_pass.stats
    if options.sequential or options.reader not in _DECORD_READERS:
        return None
    fallback = GPU_FALLBACK if options.reader is Reader.GPU else READER_FALLBACK
    if reason := reason_against_decord(decode_pass.probe, options):
        _record_fallback(decode_pass, fallback, reason)
        return None
    try:
        with stats.stage("open"):
            reader = _open_decord(decode_pass)
        stats.reader = options.reader
        return _read_and_write(decode_pass, reader)
    except ReaderFailedError as error:
        _record_fallback(decode_pass, fallback, str(error))
    except FrameMismatchError as error:
        _record_fallback(decode_pass, DECORD_DISAGREED, str(error))
    return None


def reason_against_decord(probed: Probe, options: EngineOptions) -> str | None:
    """Why decord is not used for a file, on the CPU or on the GPU; None when it is used."""
    if options.reader is Reader.GPU:
        feature = unsupported_on_gpu(probed, options.gpu) if options.gpu else "without a GPU that decord can use"
        return feature and f"the GPU does not decode {feature}"
    feature = unsupported_feature(probed)
    return feature and f"decord does not read {feature} correctly"


def _open_decord(decode_pass: DecodePass) -> FrameReader:
    """Raises ReaderFailedError."""
    # Imported only here: it takes a tenth of a second and 40 MB, and most passes don't need it.
    try:
        from actors.readers.decord_reader import DecordReader  # noqa: PLC0415
    except (ImportError, OSError) as error:
        # A build with CUDA can't be loaded without NVIDIA's driver.
        raise ReaderFailedError("decord can't be loaded") from error
    options = decode_pass.options
    return DecordReader(decode_pass.probe, threads=options.threads, on_gpu=options.reader is Reader.GPU)


def _record_fallback(decode_pass: DecodePass, warning: ResultWarning, reason: str) -> None:
    """The reason may differ from run to run. So it goes into the report, and the warning alone into the archive."""
    decode_pass.stats.reader = Reader.PYAV
    decode_pass.warnings.append(warning)
    decode_pass.stats.fallbacks.append({"code": warning.code, "reason": reason})


def _read_and_write(decode_pass: DecodePass, reader: FrameReader) -> list[WrittenResult]:
    """Reads, encodes and writes one frame after the other."""
    stats, probed = decode_pass.stats, decode_pass.probe
    with ExitStack() as stack:
        outputs = [stack.enter_context(decode_pass.open_output(request)) for request in decode_pass.requests]
        geometry = DisplayGeometry() if reader.autorotates else probed.geometry
        encoder = FrameEncoder(outputs, geometry, probed.media)
        for target, images in _with_read_time(stats, _read_images(decode_pass, reader, encoder)):
            with stats.stage("archive"):
                for output in outputs:
                    if output.includes(target.pts):
                        output.add(target, images[output.image])
            # Who shows previews makes one result.
            preview_frames = outputs[0].preview_frames
            decode_pass.on_progress(Progress(sum(output.image_count for output in outputs), preview_frames))
        stats.decoded, stats.repeated = reader.decoded, reader.repeated
        with stats.stage("archive"):
            return [output.finish(reader.missing, decode_pass.warnings) for output in outputs]


def _read_images(
    decode_pass: DecodePass, reader: FrameReader, encoder: FrameEncoder
) -> Iterator[tuple[Target, _FrameImages]]:
    def encode(frame: VideoFrame) -> _FrameImages:
        with decode_pass.stats.stage("encode"):
            return encoder.encode(frame)

    if decode_pass.stats.reader not in _DECORD_READERS:
        return reader.read(decode_pass.gops, encode)
    return read_verified(reader, decode_pass.probe, decode_pass.gops, encode, threads=decode_pass.options.threads)


def _with_read_time(
    stats: DecodeStats, images: Iterator[tuple[Target, _FrameImages]]
) -> Iterator[tuple[Target, _FrameImages]]:
    """The same images; adds the wait for each to the stage "read"."""
    while True:
        with stats.stage("read"):
            item = next(images, None)
        if item is None:
            return
        yield item

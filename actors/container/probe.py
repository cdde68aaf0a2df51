"""What a file is, told by its packets: the frame table, how the picture is to be shown, and the media facts.

All packets are read, none but the first picture is decoded; only where a container does not say when its pictures are
shown (AVI with B-frames) everything is decoded once to find out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import cast

import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame

from actors.container.container_integrity import fits_together
from actors.container.demux import NO_TIME, Packets, demux, opened
from actors.container.display_geometry import DisplayGeometry, geometry
from actors.container.error_detection import decoder_of
from actors.container.open_video import (
    DamagedPacketError,
    Source,
    TruncatedStreamError,
    decode,
    open_video,
    packets_of,
    source_of,
)
from actors.container.truncation import is_cut_off
from actors.extraction_types import ResultWarning
from actors.plan.frame_table import FrameTable, build
from db.values.error_catalogue import CatalogueError
from db.values.file_type import Container
from db.values.media_info import Media

_EXACT_SEEKS = {Container.MP4, Container.MATROSKA}
"""Their demuxers seek to the very key frame that is asked for."""
_KEYS_TRIED = 8
_OF_FIELDS = {2, 3, 4, 5}
"""AVFieldOrder: top or bottom field coded first, top or bottom field shown first."""
_JITTER_SECONDS = Fraction(1, 1000)
"""Containers that round to milliseconds make a constant rate uneven by this much."""


@dataclass(frozen=True, slots=True)
class Probe:
    """edited: an edit list or discard flags hide packets. matrix: the first picture's own color tag, ISO/IEC 23091-2
    (2: none). lines: its height as coded. interlaced: pictures may be of two fields; each frame says it of itself.
    damaged: places in decoding order of packets that a checksum of the container is against; no reader believes them.
    """

    source: Source
    table: FrameTable
    geometry: DisplayGeometry
    media: Media
    edited: bool
    matrix: int
    lines: int
    interlaced: bool
    damaged: frozenset[int]
    warnings: tuple[ResultWarning, ...]

    @property
    def seekable(self) -> bool:
        """Whether a seek to a key frame of the table lands on it."""
        return self.source.container in _EXACT_SEEKS and not self.edited


class _UncheckableError(Exception):
    """No picture passes the checks of its decoder, but some can be decoded: an encoder with ways of its own."""


def probe(path: Path) -> Probe:
    """Reads all packets of a video.

    Raises CatalogueError of fault file: what `source_of` and `open_video` raise, `encrypted`, `no_frames`,
    `no_timestamps`, `undecodable`.
    """
    source = source_of(path)
    try:
        return _probe(source)
    except _UncheckableError:
        return _probe(replace(source, lenient=True))


def _probe(source: Source) -> Probe:
    container, stream, complaints = opened(source)
    with container:
        packets = demux(container, stream)
        aspect, rate = stream.sample_aspect_ratio, stream.guessed_rate
        time_base = stream.time_base
        codec, reordered = stream.codec.canonical_name, stream.codec_context.has_b_frames
        of_fields = stream.codec_context.field_order in _OF_FIELDS
    if time_base is None:
        raise CatalogueError("no_timestamps")
    if not any(packets.shown):
        raise CatalogueError("no_frames")
    untimed = NO_TIME in packets.shown_times(packets.pts) or (source.container is Container.AVI and reordered)
    read_table = _decoded_table if untimed else _packet_table
    table, first, left_out = read_table(source, packets, time_base, codec)
    complaints += packets.complaints + (not fits_together(source.path, source.container))
    cut = packets.ended_early or is_cut_off(source.path, source.container)
    table = _with_duration(_certain(table, packets) if cut else table, rate)
    shape = geometry(aspect, _matrix(first))
    return Probe(
        source,
        table,
        shape,
        _media(source, codec, table, shape, first),
        not all(packets.shown),
        first.colorspace,
        first.height,
        of_fields or first.interlaced_frame,
        frozenset(packets.damaged),
        (*_warnings(cut, complaints, lenient=source.lenient), *left_out),
    )


def _with_duration(table: FrameTable, rate: Fraction | None) -> FrameTable:
    """One frame alone has no interval: if its duration is unknown it is shown for one period of the declared rate."""
    if len(table) > 1 or table.last_duration or not rate:
        return table
    return replace(table, last_duration=max(1, round(1 / rate / table.time_base)))


def _certain(table: FrameTable, packets: Packets) -> FrameTable:
    """Of a file that was cut off, the frames before which none can be missing.

    A missing packet's decoding time is after the last one that is there, and no frame is shown before it is decoded.
    """
    keep = table.pts <= max(packets.dts)
    keep[0] = True
    kept = table.pts[keep]
    whole = len(kept) == len(table)
    return replace(
        table,
        pts=kept,
        keys=table.keys[keep],
        order=table.order[keep],
        last_duration=table.last_duration if whole else 0,
    )


def _warnings(cut: bool, complaints: int, *, lenient: bool) -> tuple[ResultWarning, ...]:
    warnings = []
    if cut:
        warnings.append(ResultWarning("truncated", "The file breaks off; what comes before that place was read."))
    elif complaints:
        detail = "The container is damaged at some places; frames that were there are not in its table."
        warnings.append(ResultWarning("damaged", detail))
    if lenient:
        detail = "The pictures don't pass the checks of their decoder; they are given as they come out of it."
        warnings.append(ResultWarning("unchecked", detail))
    return tuple(warnings)


def _packet_table(
    source: Source, packets: Packets, time_base: Fraction, codec: str
) -> tuple[FrameTable, VideoFrame, list[ResultWarning]]:
    """The table, the first picture, and which frames are left out."""
    first_key = packets.keys.find(1)
    place = np.flatnonzero(np.frombuffer(packets.shown, np.uint8))
    late = int(np.count_nonzero(place < first_key))
    place = place[late:]  # nothing before the first key frame can be decoded
    pts = np.frombuffer(packets.pts, np.int64)[place]
    key_pts = packets.pts[first_key] if first_key >= 0 and packets.pts[first_key] != NO_TIME else None
    first, early = _first_pictures(source, key_pts)
    if key_pts is not None:
        # Pictures shown before the first key frame but coded after it refer to what is not there, unless the decoder
        # gives them; that of H.264 gives them whatever they look like.
        certain = np.array([] if codec == "h264" else early, np.int64)
        keep = (pts >= key_pts) | np.isin(pts, certain)
        place, pts = place[keep], pts[keep]
    distinct, at = np.unique(pts, return_index=True)
    if not len(distinct):
        raise CatalogueError("no_frames")
    keys = np.frombuffer(packets.keys, np.bool_)[place[at]]
    table = build(time_base, distinct, keys=keys, order=place[at], last_duration=packets.last_duration)
    return table, first, _left_out(late, len(pts) - len(distinct))


def _left_out(late: int, repeated: int) -> list[ResultWarning]:
    warnings = []
    if late:
        detail = f"{late} frames come before the first key frame and can't be decoded; time 0 is the first that can."
        warnings.append(ResultWarning("late_start", detail))
    if repeated:
        detail = f"{repeated} frames have the same time as another one and are left out."
        warnings.append(ResultWarning("duplicate_timestamps", detail))
    return warnings


def _first_pictures(source: Source, key_pts: int | None) -> tuple[VideoFrame, list[int]]:
    """The first picture that can be decoded, and the times of those that come out before the first key frame's."""
    first, early = None, []
    for frame in _pictures(source):
        first = first or frame
        if frame.pts is None or key_pts is None or frame.pts >= key_pts:
            break
        if not frame.is_corrupt:
            early.append(frame.pts)
    if first is None or first.is_corrupt or (first.pts is not None and key_pts is not None and first.pts > key_pts):
        _refuse_uncheckable(source)
    if first is None:
        raise CatalogueError("undecodable", "No picture of the video can be decoded.")
    return first, early


def _refuse_uncheckable(source: Source) -> None:
    """Raises _UncheckableError."""
    lenient = replace(source, lenient=True)
    if not source.lenient and not _has_whole_key_picture(source) and _has_whole_key_picture(lenient):
        raise _UncheckableError


def _has_whole_key_picture(source: Source) -> bool:
    """Whether one of the first key pictures, each decoded alone, gives nothing to complain about."""
    container, stream = open_video(source)
    with container, suppress(TruncatedStreamError):
        decoder = decoder_of(stream, lenient=source.lenient, own=True)
        keys = (packet for packet in packets_of(container, stream) if packet.is_keyframe)
        for packet in islice(keys, _KEYS_TRIED):
            with suppress(DamagedPacketError):
                frames = decode(decoder, packet, lenient=source.lenient) + decode(decoder, None)
                if frames and not any(frame.is_corrupt for frame in frames):
                    return True
            decoder.flush_buffers()
    return False


def _pictures(source: Source) -> Iterator[VideoFrame]:
    """All pictures in the order they are shown, by one thread; damaged packets are passed over."""
    container, stream = open_video(source)
    with container:
        decoder = decoder_of(stream, lenient=source.lenient, own=True)
        decoder.thread_count = 1
        with suppress(TruncatedStreamError):
            for packet in packets_of(container, stream):
                with suppress(DamagedPacketError):
                    yield from decode(decoder, packet, lenient=source.lenient)
        with suppress(DamagedPacketError):
            yield from decode(decoder, None)


def _decoded_table(
    source: Source, packets: Packets, time_base: Fraction, codec: str
) -> tuple[FrameTable, VideoFrame, list[ResultWarning]]:
    """The same from decoding everything: the decoder's times when they ascend, else the k-th picture has the k-th
    decoding time, which is when a container that counts pictures (AVI) shows it."""
    first, pts, keys = None, [], []
    for frame in _pictures(source):
        first = first or frame
        pts.append(frame.pts)
        keys.append(frame.key_frame)
    if first is None or first.is_corrupt:
        _refuse_uncheckable(source)
    if first is None:
        raise CatalogueError("undecodable", "No picture of the video can be decoded.")
    known = [time for time in pts if time is not None]
    if len(known) == len(pts) and all(a < b for a, b in pairwise(known)):
        return build(time_base, known, keys=keys), first, []
    ticks = sorted(set(packets.shown_times(packets.dts)) - {NO_TIME})
    if len(ticks) != len(pts):
        raise CatalogueError("no_timestamps")
    return build(time_base, ticks, keys=keys, by_ordinal=True), first, []


def _matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The display matrix that the decoder passes on from the container or the stream."""
    side_data = cast("Mapping[str, SideData]", frame.side_data)
    data = side_data.get("DISPLAYMATRIX")
    return struct.unpack("=9i", bytes(memoryview(data))) if data else None


def _media(source: Source, codec: str, table: FrameTable, shape: DisplayGeometry, first: VideoFrame) -> Media:
    width, height = shape.image_size(first.width, first.height)
    intervals = np.diff(table.pts)
    median, jitter = table.median_interval, max(Fraction(1), _JITTER_SECONDS / table.time_base)
    uneven = len(intervals) > 0 and max(intervals.max() - median, median - intervals.min()) > jitter
    return Media(
        container=source.container.value,
        codec=codec,
        width=width,
        height=height,
        rotation=90 * shape.quarter_turns,
        duration=float(table.end),
        frames=len(table),
        fps_average=float(len(table) / table.end),
        variable_frame_rate=bool(uneven),
    )

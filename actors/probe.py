"""What a file is, told by its packets: the frame table, how the picture is to be shown, and the media facts.

All packets are read, none but the first picture is decoded; only where a container does not say when its pictures are
shown (AVI with B-frames) everything is decoded once to find out.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from actors.extent import is_cut_off
from actors.extraction import ResultWarning
from actors.readers.source import (
    BrokenOffError,
    DamagedPacketError,
    Source,
    decode,
    open_video,
    packets_of,
    source_of,
)
from actors.table import FrameTable, build
from actors.upright import Geometry, geometry
from db.errors import FotogramaError
from db.media import Container, Media

_NO_TIME = -(2**63)
_CHUNK_HEADER_BYTES = 8
_JITTER_SECONDS = Fraction(1, 1000)
"""Containers that round to milliseconds make a constant rate uneven by this much."""


@dataclass(frozen=True, slots=True)
class Probe:
    """edited: an edit list or discard flags hide packets. matrix: the first picture's own color tag, ISO/IEC 23091-2
    (2: none). lines: its height as coded."""

    source: Source
    table: FrameTable
    geometry: Geometry
    media: Media
    edited: bool
    matrix: int
    lines: int
    warnings: tuple[ResultWarning, ...]


@dataclass(slots=True)
class _Packets:
    """What a demux-only pass saw, one entry a packet in decoding order; times are ticks or _NO_TIME."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    keys: bytearray = field(default_factory=bytearray)
    shown: bytearray = field(default_factory=bytearray)
    last_duration: int = 0
    ended_early: bool = False
    complaints: int = 0

    def shown_times(self, times: array[int]) -> list[int]:
        return [time for time, shown in zip(times, self.shown, strict=True) if shown]


def probe(path: Path) -> Probe:
    """Reads all packets of a video.

    Raises FotogramaError of fault file: what `source_of` and `open_video` raise, `encrypted`, `no_frames`,
    `no_timestamps`, `undecodable`.
    """
    source = source_of(path)
    container, stream = open_video(source)
    with container:
        packets = _demux(container, stream)
        aspect, rate = stream.sample_aspect_ratio, stream.guessed_rate
        time_base = stream.time_base
        codec, reordered = stream.codec.canonical_name, stream.codec_context.has_b_frames
    if time_base is None:
        raise FotogramaError("no_timestamps")
    if not any(packets.shown):
        raise FotogramaError("no_frames")
    untimed = _NO_TIME in packets.shown_times(packets.pts) or (source.container is Container.AVI and reordered)
    read_table = _decoded_table if untimed else _packet_table
    table, first, repeated = read_table(source, packets, time_base, codec)
    cut = packets.ended_early or is_cut_off(path, source.container)
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
        _warnings(cut, packets.complaints, repeated),
    )


def _with_duration(table: FrameTable, rate: Fraction | None) -> FrameTable:
    """One frame alone has no interval: if its duration is unknown it is shown for one period of the declared rate."""
    if len(table) > 1 or table.last_duration or not rate:
        return table
    return replace(table, last_duration=max(1, round(1 / rate / table.time_base)))


def _certain(table: FrameTable, packets: _Packets) -> FrameTable:
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


def _warnings(cut: bool, complaints: int, repeated: int) -> tuple[ResultWarning, ...]:
    warnings = []
    if cut:
        warnings.append(ResultWarning("truncated", "The file breaks off; what comes before that place was read."))
    elif complaints:
        detail = "The container is damaged at some places; frames that were there are not in its table."
        warnings.append(ResultWarning("damaged", detail))
    if repeated:
        detail = f"{repeated} frames have the same time as another one and are left out."
        warnings.append(ResultWarning("duplicate_timestamps", detail))
    return tuple(warnings)


def _demux(container: InputContainer, stream: VideoStream) -> _Packets:
    packets = _Packets()
    with _complaints() as complaints:
        _read_packets(container, stream, packets)
    packets.complaints = len(complaints)
    return packets


@contextmanager
def _complaints() -> Iterator[list[tuple[int, str, str]]]:
    """What FFmpeg reports as errors in this thread: a demuxer passes over damage without another sign."""
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=True) as logs:
            yield logs
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)


def _read_packets(container: InputContainer, stream: VideoStream, packets: _Packets) -> None:
    latest, codec = _NO_TIME, stream.codec.canonical_name
    counted = _times_by_place(container, stream)
    try:
        for packet in packets_of(container, stream):
            if counted.get(packet.pos, packet.dts) != packet.dts:
                raise BrokenOffError
            if packet.has_sidedata("encryption_info") or "enc_key_id" in stream.metadata:
                raise FotogramaError("encrypted")
            shown = not (packet.is_discard or _is_invisible(codec, packet))
            packets.pts.append(_NO_TIME if packet.pts is None else packet.pts)
            packets.dts.append(_NO_TIME if packet.dts is None else packet.dts)
            packets.keys.append(packet.is_keyframe)
            packets.shown.append(shown)
            if shown and packets.pts[-1] > latest:
                latest, packets.last_duration = packets.pts[-1], packet.duration or 0
    except BrokenOffError:
        packets.ended_early = True
    # Counted here, because the index of a fragmented file is read as it goes.
    if container.format.name.startswith("mov") and len(packets.pts) < len(stream.index_entries):
        packets.ended_early = True


def _times_by_place(container: InputContainer, stream: VideoStream) -> dict[int | None, int]:
    """What an AVI file's index says: the demuxer counts packets, and after damage its count is wrong."""
    if container.format.name != "avi":
        return {}
    return {entry.pos + _CHUNK_HEADER_BYTES: entry.timestamp for entry in stream.index_entries}


def _is_invisible(codec: str, packet: av.Packet[VideoStream]) -> bool:
    """A VP8 frame that is only referred to (RFC 6386, 9.1: show_frame) has a packet and a time of its own."""
    return codec == "vp8" and not memoryview(packet)[0] & 0x10


def _packet_table(
    source: Source, packets: _Packets, time_base: Fraction, codec: str
) -> tuple[FrameTable, VideoFrame, int]:
    """The table, the first picture, and how many frames were left out because another one has their time."""
    first_key = packets.keys.find(1)
    place = np.flatnonzero(np.frombuffer(packets.shown, np.uint8))
    place = place[place >= first_key]  # nothing before the first key frame can be decoded
    pts = np.frombuffer(packets.pts, np.int64)[place]
    key_pts = packets.pts[first_key] if first_key >= 0 and packets.pts[first_key] != _NO_TIME else None
    first, early = _first_pictures(source, key_pts)
    if key_pts is not None:
        # Pictures shown before the first key frame but coded after it refer to what is not there, unless the decoder
        # gives them; that of H.264 gives them whatever they look like.
        certain = np.array([] if codec == "h264" else early, np.int64)
        keep = (pts >= key_pts) | np.isin(pts, certain)
        place, pts = place[keep], pts[keep]
    distinct, at = np.unique(pts, return_index=True)
    if not len(distinct):
        raise FotogramaError("no_frames")
    keys = np.frombuffer(packets.keys, np.bool_)[place[at]]
    table = build(time_base, distinct, keys=keys, order=place[at], last_duration=packets.last_duration)
    return table, first, len(pts) - len(distinct)


def _first_pictures(source: Source, key_pts: int | None) -> tuple[VideoFrame, list[int]]:
    """The first picture that can be decoded, and the times of those that come out before the first key frame's."""
    first, early = None, []
    for frame in _pictures(source):
        first = first or frame
        if frame.pts is None or key_pts is None or frame.pts >= key_pts:
            break
        if not frame.is_corrupt:
            early.append(frame.pts)
    if first is None:
        raise FotogramaError("undecodable", "No picture of the video can be decoded.")
    return first, early


def _pictures(source: Source) -> Iterator[VideoFrame]:
    """All pictures in the order they are shown, by one thread; damaged packets are passed over."""
    container, stream = open_video(source)
    with container:
        stream.codec_context.thread_count = 1
        with suppress(BrokenOffError):
            for packet in packets_of(container, stream):
                with suppress(DamagedPacketError):
                    yield from decode(stream, packet)
        with suppress(DamagedPacketError):
            yield from decode(stream, None)


def _decoded_table(
    source: Source, packets: _Packets, time_base: Fraction, codec: str
) -> tuple[FrameTable, VideoFrame, int]:
    """The same from decoding everything: the decoder's times when they ascend, else the k-th picture has the k-th
    decoding time, which is when a container that counts pictures (AVI) shows it."""
    first, pts, keys = None, [], []
    for frame in _pictures(source):
        first = first or frame
        pts.append(frame.pts)
        keys.append(frame.key_frame)
    if first is None:
        raise FotogramaError("undecodable", "No picture of the video can be decoded.")
    known = [time for time in pts if time is not None]
    if len(known) == len(pts) and all(a < b for a, b in pairwise(known)):
        return build(time_base, known, keys=keys), first, 0
    ticks = sorted(set(packets.shown_times(packets.dts)) - {_NO_TIME})
    if len(ticks) != len(pts):
        raise FotogramaError("no_timestamps")
    return build(time_base, ticks, keys=keys, by_ordinal=True), first, 0


def _matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The display matrix that the decoder passes on from the container or the stream."""
    side_data = cast("Mapping[str, SideData]", frame.side_data)
    data = side_data.get("DISPLAYMATRIX")
    return struct.unpack("=9i", bytes(memoryview(data))) if data else None


def _media(source: Source, codec: str, table: FrameTable, shape: Geometry, first: VideoFrame) -> Media:
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

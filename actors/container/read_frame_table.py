"""Reads a video's frame table from its packets, or by decoding where the container does not time its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise

import numpy as np
from av.video.frame import VideoFrame

from actors.container.checked_decoder import PacketDecodeError, configure_decoder, decode_packet
from actors.container.open_video import TruncatedStreamError, VideoSource, open_video, read_packets
from actors.container.packet_table import PacketTable
from actors.extraction_types import ResultWarning
from actors.plan.frame_table import NO_PTS, FrameTable, build_frame_table
from db.values.error_catalogue import CatalogueError
from db.values.file_type import Container

_MAX_KEY_FRAMES_TRIED = 8


class ChecksFailEverywhereError(Exception):
    """No key frame passes the checks of its decoder, but some can be decoded: the encoder breaks the rules."""


def read_frame_table(
    source: VideoSource, packets: PacketTable, time_base: Fraction, codec: str, *, has_b_frames: bool
) -> tuple[FrameTable, VideoFrame, list[ResultWarning]]:
    """The table, the first picture that can be decoded, and warnings about frames that are left out.

    Raises ChecksFailEverywhereError; CatalogueError `no_frames`, `no_timestamps` or `undecodable`.
    """
    lacks_times = NO_PTS in packets.displayed(packets.pts) or (source.container is Container.AVI and has_b_frames)
    read_table = _table_from_decoding if lacks_times else _table_from_packets
    return read_table(source, packets, time_base, codec)


def with_declared_duration(table: FrameTable, rate: Fraction | None) -> FrameTable:
    """A single frame of unknown duration is shown for one period of the declared rate: there is no interval to use."""
    if len(table) > 1 or table.last_duration or not rate:
        return table
    return replace(table, last_duration=max(1, round(1 / rate / table.time_base)))


def without_uncertain_frames(table: FrameTable, packets: PacketTable) -> FrameTable:
    """The frames of a truncated file before which no frame can be missing.

    The decoding time of a missing packet is after the last one in the file, and no frame is shown before it is decoded.
    """
    keep = table.pts <= max(packets.dts)
    keep[0] = True
    kept = table.pts[keep]
    all_kept = len(kept) == len(table)
    return replace(
        table,
        pts=kept,
        is_key=table.is_key[keep],
        decode_order=table.decode_order[keep],
        last_duration=table.last_duration if all_kept else 0,
    )


def _table_from_packets(
    source: VideoSource, packets: PacketTable, time_base: Fraction, codec: str
) -> tuple[FrameTable, VideoFrame, list[ResultWarning]]:
    first_key = packets.is_key.find(1)
    place = np.flatnonzero(np.frombuffer(packets.is_displayed, np.uint8))
    before_key = int(np.count_nonzero(place < first_key))
    place = place[before_key:]  # nothing before the first key frame can be decoded
    pts = np.frombuffer(packets.pts, np.int64)[place]
    key_pts = packets.pts[first_key] if first_key >= 0 and packets.pts[first_key] != NO_PTS else None
    first, leading = _first_decodable_frames(source, key_pts)
    if key_pts is not None:
        # Leading pictures of the first key frame refer to pictures that are not in the file. They stay only when the
        # decoder gives them undamaged. H.264's gives them always, so they say nothing.
        intact = np.array([] if codec == "h264" else leading, np.int64)
        keep = (pts >= key_pts) | np.isin(pts, intact)
        place, pts = place[keep], pts[keep]
    distinct, positions = np.unique(pts, return_index=True)
    if not len(distinct):
        raise CatalogueError("no_frames")
    keys = np.frombuffer(packets.is_key, np.bool_)[place[positions]]
    table = build_frame_table(
        time_base, distinct, is_key=keys, decode_order=place[positions], last_duration=packets.last_duration
    )
    return table, first, _left_out_warnings(before_key, len(pts) - len(distinct))


def _left_out_warnings(before_key: int, duplicates: int) -> list[ResultWarning]:
    """before_key: frames before the first key frame. duplicates: frames with the time of another one."""
    warnings = []
    if before_key:
        detail = (
            f"{before_key} frames come before the first key frame and can't be decoded; time 0 is the first that can."
        )
        warnings.append(ResultWarning("late_start", detail))
    if duplicates:
        detail = f"{duplicates} frames have the same time as another one and are left out."
        warnings.append(ResultWarning("duplicate_timestamps", detail))
    return warnings


def _first_decodable_frames(source: VideoSource, key_pts: int | None) -> tuple[VideoFrame, list[int]]:
    """The first frame that can be decoded, and the times of the intact frames before the first key frame's time."""
    first, leading = None, []
    for frame in _decode_all(source):
        first = first or frame
        if frame.pts is None or key_pts is None or frame.pts >= key_pts:
            break
        if not frame.is_corrupt:
            leading.append(frame.pts)
    if first is None or first.is_corrupt or (first.pts is not None and key_pts is not None and first.pts > key_pts):
        _raise_if_checks_fail_everywhere(source)
    if first is None:
        raise CatalogueError("undecodable", "No picture of the video can be decoded.")
    return first, leading


def _raise_if_checks_fail_everywhere(source: VideoSource) -> None:
    """Raises ChecksFailEverywhereError."""
    unchecked = replace(source, unchecked=True)
    if not source.unchecked and not _has_intact_key_frame(source) and _has_intact_key_frame(unchecked):
        raise ChecksFailEverywhereError


def _has_intact_key_frame(source: VideoSource) -> bool:
    """Whether one of the first key frames, each decoded alone, is decoded without an error."""
    container, stream = open_video(source)
    with container, suppress(TruncatedStreamError):
        decoder = configure_decoder(stream, unchecked=source.unchecked, native=True)
        keys = (packet for packet in read_packets(container, stream) if packet.is_keyframe)
        for packet in islice(keys, _MAX_KEY_FRAMES_TRIED):
            with suppress(PacketDecodeError):
                frames = decode_packet(decoder, packet, unchecked=source.unchecked) + decode_packet(decoder, None)
                if frames and not any(frame.is_corrupt for frame in frames):
                    return True
            decoder.flush_buffers()
    return False


def _decode_all(source: VideoSource) -> Iterator[VideoFrame]:
    """All frames in presentation order, decoded by one thread; skips packets that can't be decoded."""
    container, stream = open_video(source)
    with container:
        decoder = configure_decoder(stream, unchecked=source.unchecked, native=True)
        decoder.thread_count = 1
        with suppress(TruncatedStreamError):
            for packet in read_packets(container, stream):
                with suppress(PacketDecodeError):
                    yield from decode_packet(decoder, packet, unchecked=source.unchecked)
        with suppress(PacketDecodeError):
            yield from decode_packet(decoder, None)


def _table_from_decoding(
    source: VideoSource, packets: PacketTable, time_base: Fraction, codec: str
) -> tuple[FrameTable, VideoFrame, list[ResultWarning]]:
    """Decodes everything and takes the decoder's times when they ascend.

    Otherwise the k-th picture gets the k-th decoding time: a container that counts pictures (AVI) shows it then.
    """
    first, pts, keys = None, [], []
    for frame in _decode_all(source):
        first = first or frame
        pts.append(frame.pts)
        keys.append(frame.key_frame)
    if first is None or first.is_corrupt:
        _raise_if_checks_fail_everywhere(source)
    if first is None:
        raise CatalogueError("undecodable", "No picture of the video can be decoded.")
    decoder_times = [time for time in pts if time is not None]
    if len(decoder_times) == len(pts) and all(a < b for a, b in pairwise(decoder_times)):
        return build_frame_table(time_base, decoder_times, is_key=keys), first, []
    ticks = sorted(set(packets.displayed(packets.dts)) - {NO_PTS})
    if len(ticks) != len(pts):
        raise CatalogueError("no_timestamps")
    return build_frame_table(time_base, ticks, is_key=keys, match_by_index=True), first, []

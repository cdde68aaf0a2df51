"""Reads the packet table: what the container says of every packet of the best video stream. Decodes nothing."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from actors.container.container_integrity import count_avi_chunks
from actors.container.open_video import (
    TruncatedStreamError,
    VideoSource,
    cluster_index,
    open_video,
    path_of,
    read_packets,
)
from actors.plan.frame_table import NO_PTS
from db.values.error_catalogue import CatalogueError

_AVI_CHUNK_HEADER_BYTES = 8
_ASF_LOST_PACKET_MESSAGE = "freeing incomplete packet"
_CODECS_WITHOUT_REORDERING = {"vp8", "vp9", "av1"}

LogRecord = tuple[int, str, str]
"""Level, name of the FFmpeg class, and text."""


@dataclass(slots=True)
class PacketTable:
    """One entry per packet in decoding order. Times are ticks or NO_PTS.

    is_displayed: False for packets that no player shows. last_duration: ticks, of the packet that is shown last.
    errors: number of errors that the demuxer logged, of checksums that differ, and of packets out of order.
    corrupt: places of the packets that a wrong checksum covers.
    """

    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    is_key: bytearray = field(default_factory=bytearray)
    is_displayed: bytearray = field(default_factory=bytearray)
    last_duration: int = 0
    is_truncated: bool = False
    errors: int = 0
    corrupt: list[int] = field(default_factory=list)

    def displayed(self, times: array[int]) -> list[int]:
        """The times of the displayed packets."""
        return [time for time, is_displayed in zip(times, self.is_displayed, strict=True) if is_displayed]


def open_and_count_errors(source: VideoSource) -> tuple[InputContainer, VideoStream, int]:
    """As `open_video`; and the number of errors that the demuxer logged while it read the start of the file."""
    with _captured_log(_log_level(source.demuxer)) as records:
        container, stream = open_video(source)
    return container, stream, _count_errors([record for record in records if source.demuxer in record[1].split(",")])


def read_packet_table(container: InputContainer, stream: VideoStream) -> PacketTable:
    """Reads all packets. Raises CatalogueError `encrypted`."""
    packets = PacketTable()
    with _captured_log(_log_level(container.format.name)) as records:
        _add_packets(container, stream, packets)
    packets.errors += _count_errors(records)
    return packets


def _log_level(demuxer: str) -> int:
    """The least severe level at which the demuxer reports damage."""
    return av.logging.INFO if demuxer == "asf" else av.logging.ERROR


def _count_errors(records: list[LogRecord]) -> int:
    return sum(level <= av.logging.ERROR or _ASF_LOST_PACKET_MESSAGE in text for level, _, text in records)


@contextmanager
def _captured_log(level: int) -> Iterator[list[LogRecord]]:
    """What FFmpeg logs in this thread, down to a level: the log is the only sign of some damage."""
    level_before, skip_before = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(level)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=True) as records:
            yield records
    finally:
        av.logging.set_level(level_before)
        av.logging.set_skip_repeated(skip_before)


def _add_packets(container: InputContainer, stream: VideoStream, packets: PacketTable) -> None:
    latest_pts, codec = NO_PTS, stream.codec.canonical_name
    index_dts = _avi_index_dts(container, stream)
    clusters = cluster_index(container)
    packets.errors = clusters.crc_mismatches if clusters else 0
    try:
        for packet in read_packets(container, stream):
            if index_dts.get(packet.pos, packet.dts) != packet.dts:
                raise TruncatedStreamError
            if packet.has_sidedata("encryption_info") or "enc_key_id" in stream.metadata:
                raise CatalogueError("encrypted")
            if packets.errors and clusters and clusters.has_crc_mismatch_at(packet.pos):
                packets.corrupt.append(len(packets.pts))
            is_displayed = not (packet.is_discard or _is_hidden_vp8_frame(codec, packet))
            packets.pts.append(NO_PTS if packet.pts is None else packet.pts)
            packets.dts.append(NO_PTS if packet.dts is None else packet.dts)
            packets.is_key.append(packet.is_keyframe)
            packets.is_displayed.append(is_displayed)
            if is_displayed and packets.pts[-1] > latest_pts:
                latest_pts, packets.last_duration = packets.pts[-1], packet.duration or 0
            elif is_displayed and codec in _CODECS_WITHOUT_REORDERING:
                packets.errors += 1  # its time is not after the time of the packet before it
    except TruncatedStreamError:
        packets.is_truncated = True
    # Only now: the demuxer reads the index of a fragmented file together with the packets.
    if container.format.name.startswith("mov") and len(packets.pts) < len(stream.index_entries):
        packets.is_truncated = True
    if container.format.name == "avi":
        listed = sum(entry.size > 0 for entry in stream.index_entries)
        packets.errors += len(packets.pts) < max(listed, count_avi_chunks(path_of(container), stream.index))


def _avi_index_dts(container: InputContainer, stream: VideoStream) -> dict[int | None, int]:
    """The decoding time by byte position in the index of an AVI file.

    The AVI demuxer counts packets for their time, and after damage it counts wrong.
    """
    if container.format.name != "avi":
        return {}
    return {entry.pos + _AVI_CHUNK_HEADER_BYTES: entry.timestamp for entry in stream.index_entries}


def _is_hidden_vp8_frame(codec: str, packet: av.Packet[VideoStream]) -> bool:
    """A VP8 frame that is never shown (RFC 6386, 9.1: show_frame) still has a packet and a time."""
    return codec == "vp8" and not memoryview(packet)[0] & 0x10

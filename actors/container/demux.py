"""The demux pass: what a container says of every packet of the best video stream, without decoding any."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from actors.container.container_integrity import chunks
from actors.container.open_video import Source, TruncatedStreamError, clusters_of, open_video, packets_of, path_of
from db.values.error_catalogue import CatalogueError

NO_TIME = -(2**63)
_CHUNK_HEADER_BYTES = 8
_LOST_IN_ASF = "freeing incomplete packet"
_NEVER_REORDERED = {"vp8", "vp9", "av1"}


@dataclass(slots=True)
class Packets:
    """One entry a packet in decoding order; times are ticks or NO_TIME.

    last_duration: ticks, of the packet that is shown last. complaints: what the demuxer reported as errors, and wrong
    checksums. damaged: places of packets inside of what a wrong checksum covers.
    """

    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    keys: bytearray = field(default_factory=bytearray)
    shown: bytearray = field(default_factory=bytearray)
    last_duration: int = 0
    ended_early: bool = False
    complaints: int = 0
    damaged: list[int] = field(default_factory=list)

    def shown_times(self, times: array[int]) -> list[int]:
        return [time for time, shown in zip(times, self.shown, strict=True) if shown]


def opened(source: Source) -> tuple[InputContainer, VideoStream, int]:
    """As `open_video`, and how often the demuxer complained while it looked at the beginning."""
    with _complaints(_level(source.demuxer)) as heard:
        container, stream = open_video(source)
    return container, stream, _count([item for item in heard if source.demuxer in item[1].split(",")])


def demux(container: InputContainer, stream: VideoStream) -> Packets:
    """Reads all packets; raises CatalogueError `encrypted`."""
    packets = Packets()
    with _complaints(_level(container.format.name)) as heard:
        _read_packets(container, stream, packets)
    packets.complaints += _count(heard)
    return packets


def _level(demuxer: str) -> int:
    """Down to which what FFmpeg says is about damage."""
    return av.logging.INFO if demuxer == "asf" else av.logging.ERROR


def _count(heard: list[tuple[int, str, str]]) -> int:
    return sum(level <= av.logging.ERROR or _LOST_IN_ASF in text for level, _, text in heard)


@contextmanager
def _complaints(level: int) -> Iterator[list[tuple[int, str, str]]]:
    """What FFmpeg reports in this thread, down to a level: a demuxer passes over damage without another sign."""
    before, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(level)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=True) as logs:
            yield logs
    finally:
        av.logging.set_level(before)
        av.logging.set_skip_repeated(skips)


def _read_packets(container: InputContainer, stream: VideoStream, packets: Packets) -> None:
    latest, codec = NO_TIME, stream.codec.canonical_name
    counted = _times_by_place(container, stream)
    clusters = clusters_of(container)
    packets.complaints = clusters.broken if clusters else 0
    try:
        for packet in packets_of(container, stream):
            if counted.get(packet.pos, packet.dts) != packet.dts:
                raise TruncatedStreamError
            if packet.has_sidedata("encryption_info") or "enc_key_id" in stream.metadata:
                raise CatalogueError("encrypted")
            if packets.complaints and clusters and clusters.is_broken_at(packet.pos):
                packets.damaged.append(len(packets.pts))
            shown = not (packet.is_discard or _is_invisible(codec, packet))
            packets.pts.append(NO_TIME if packet.pts is None else packet.pts)
            packets.dts.append(NO_TIME if packet.dts is None else packet.dts)
            packets.keys.append(packet.is_keyframe)
            packets.shown.append(shown)
            if shown and packets.pts[-1] > latest:
                latest, packets.last_duration = packets.pts[-1], packet.duration or 0
            elif shown and codec in _NEVER_REORDERED:
                packets.complaints += 1  # shown no later than the one before it
    except TruncatedStreamError:
        packets.ended_early = True
    # Counted here, because the index of a fragmented file is read as it goes.
    if container.format.name.startswith("mov") and len(packets.pts) < len(stream.index_entries):
        packets.ended_early = True
    if container.format.name == "avi":
        listed = sum(entry.size > 0 for entry in stream.index_entries)
        packets.complaints += len(packets.pts) < max(listed, chunks(path_of(container), stream.index))


def _times_by_place(container: InputContainer, stream: VideoStream) -> dict[int | None, int]:
    """What an AVI file's index says: the demuxer counts packets, and after damage its count is wrong."""
    if container.format.name != "avi":
        return {}
    return {entry.pos + _CHUNK_HEADER_BYTES: entry.timestamp for entry in stream.index_entries}


def _is_invisible(codec: str, packet: av.Packet[VideoStream]) -> bool:
    """A VP8 frame that is only referred to (RFC 6386, 9.1: show_frame) has a packet and a time of its own."""
    return codec == "vp8" and not memoryview(packet)[0] & 0x10

"""One decoder that goes forward through a file and decodes packet runs, each from its key frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from actors.container.checked_decoder import PacketDecodeError, configure_decoder, decode_packet
from actors.container.open_video import TruncatedStreamError, open_video, read_packets
from actors.container.probe import Probe
from actors.container.random_access_parser import BitstreamParser, RandomAccess
from actors.plan.frame_selection import Target
from actors.plan.frame_table import NO_PTS
from actors.plan.gop_schedule import PacketRun

NEAR_PACKETS = 16
"""So many packets are skipped faster than by seeking. As many read packets are kept, because a run may start before the
end of the run before it: at a key frame that is followed by leading pictures."""
_CODECS_WITH_LEADING_PICTURES = {"h264", "hevc"}


class NeedsSequentialReadError(Exception):
    """Something is wrong with a packet or a frame. Only decoding from the beginning of the file can tell what."""


class NoRandomAccessError(NeedsSequentialReadError):
    """Decoding can't start at a key frame of the container, or pictures after an open GOP's key frame refer to pictures
    before it. Nothing is damaged, but only a decoder that comes from the beginning of the file can go on."""


class GopDecoder:
    """threads: of the decoder. latest_pts: latest presentation time that came out in the current run, ticks.

    Any thread may use it, one at a time.
    """

    def __init__(self, probe: Probe, threads: int) -> None:
        self._probe, self._table, self._threads = probe, probe.table, threads
        self._container: InputContainer | None = None
        self._next_packet = 0
        self._recent_packets: deque[Packet[VideoStream]] = deque(maxlen=NEAR_PACKETS)
        self.latest_pts, self._started_in_open_gop = NO_PTS, False
        self.decoded = 0

    def close(self) -> None:
        if self._container is not None:
            self._container.close()

    def read(self, run: PacketRun) -> Iterator[VideoFrame]:
        """The frames of the run's targets, in order and all of them. Runs must be in order.

        Raises NeedsSequentialReadError.
        """
        if self._container is None:
            self._open()
        self.latest_pts, self._started_in_open_gop = NO_PTS, False
        remaining = deque(run.targets)
        try:
            for packet in self._needed_packets(run):
                if packet.is_corrupt:
                    raise NeedsSequentialReadError
                frames = decode_packet(self._decoder, packet, unchecked=self._probe.source.unchecked)
                yield from self._target_frames(frames, remaining)
            yield from self._target_frames(decode_packet(self._decoder, None), remaining)
        except (TruncatedStreamError, PacketDecodeError, NeedsSequentialReadError) as error:
            raise NoRandomAccessError if self._started_in_open_gop else NeedsSequentialReadError from error
        self._decoder.flush_buffers()
        if remaining:
            raise NeedsSequentialReadError

    def _needed_packets(self, run: PacketRun) -> Iterator[Packet[VideoStream]]:
        target_pts = {target.pts for target in run.targets}
        for packet in self._packets_of(run):
            if packet.pts in target_pts or not self._is_skippable(packet, run):
                yield packet

    def _is_skippable(self, packet: Packet[VideoStream], run: PacketRun) -> bool:
        """Disposable pictures, and leading pictures of the run's key frame: no later picture refers to either."""
        if self._bitstream.is_disposable(memoryview(packet)):
            return True
        is_leading = run.key_pts is not None and packet.pts is not None and packet.pts < run.key_pts
        return is_leading and self._probe.media.codec in _CODECS_WITH_LEADING_PICTURES

    def _target_frames(self, frames: list[VideoFrame], remaining: deque[Target]) -> Iterator[VideoFrame]:
        """Removes targets from `remaining` as their frames come out."""
        for frame in frames:
            self.decoded += 1
            if frame.is_corrupt or frame.pts is None or frame.pts <= self.latest_pts:
                raise NeedsSequentialReadError
            self.latest_pts = frame.pts
            if remaining and frame.pts >= remaining[0].pts:
                if frame.pts != remaining.popleft().pts:
                    raise NeedsSequentialReadError
                yield frame

    def _packets_of(self, run: PacketRun) -> Iterator[Packet[VideoStream]]:
        self._move_to(run)
        for packet in self._packets:
            place, self._next_packet = self._next_packet, self._next_packet + 1
            self._recent_packets.append(packet)
            if place == run.first and run.key_pts is not None:
                self._check_key_packet(packet, run.key_pts)
            if place >= run.first:
                yield packet
            if place >= run.last:
                return
        raise NeedsSequentialReadError

    def _check_key_packet(self, packet: Packet[VideoStream], key_pts: int) -> None:
        if packet.pts != key_pts:
            raise NeedsSequentialReadError
        random_access = self._bitstream.random_access(memoryview(packet))
        if random_access is RandomAccess.NONE:
            raise NoRandomAccessError
        self._started_in_open_gop = random_access is RandomAccess.OPEN

    def _open(self) -> None:
        self.close()
        self._container, self._stream = open_video(self._probe.source)
        decoder = configure_decoder(self._stream, explode=True, unchecked=self._probe.source.unchecked)
        decoder.thread_count = self._threads
        decoder.thread_type = "FRAME" if self._threads > 1 else "SLICE"
        self._decoder = decoder
        self._bitstream = BitstreamParser(self._stream.codec.canonical_name, decoder.extradata)
        self._packets: Iterator[Packet[VideoStream]] = read_packets(self._container, self._stream)
        self._next_packet = 0
        self._recent_packets.clear()

    def _move_to(self, run: PacketRun) -> None:
        """Makes the next packet the run's first packet or one before it."""
        steps_back = self._next_packet - run.first
        if 0 < steps_back <= len(self._recent_packets):
            repeated = [self._recent_packets.pop() for _ in range(steps_back)]
            self._packets, self._next_packet = chain(reversed(repeated), self._packets), run.first
        elif self._probe.seeks_exactly and run.key_pts is not None and not -NEAR_PACKETS <= steps_back <= 0:
            self._seek(run.key_pts, run.first)
        elif steps_back > 0:
            self._open()

    def _seek(self, key_pts: int, place: int) -> None:
        """Moves to the packet at `place` or before it; to the file's beginning when seeking does not lead there."""
        assert self._container is not None
        self._container.seek(key_pts, stream=self._stream)
        packets = read_packets(self._container, self._stream)
        packet = next(packets, None)
        landed = None if packet is None or packet.pts is None else self._table.index_of(packet.pts)
        if packet is None or landed is None or self._table.decode_order[landed] > place:
            self._open()
        else:
            self._packets, self._next_packet = chain([packet], packets), int(self._table.decode_order[landed])
            self._recent_packets.clear()

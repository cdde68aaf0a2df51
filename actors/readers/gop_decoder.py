"""One decoder on its way forward through a file: run after run, each begun at its key frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from actors.container.checked_decoder import PacketDecodeError, configure_decoder, decode_packet
from actors.container.codec_bitstream import BitstreamParser, RandomAccess
from actors.container.open_video import TruncatedStreamError, open_video, read_packets
from actors.container.probe import Probe
from actors.plan.frame_selection import Target
from actors.plan.gop_schedule import PacketRun

NEAR_PACKETS = 16
"""So many are passed over faster than by seeking; and so many are kept to go back to, because a run may begin before
the end of the last one: at a key frame that is coded before pictures shown before it."""
_REORDERING = {"h264", "hevc"}
_NOTHING_YET = -(2**63)


class NeedsSequentialReadError(Exception):
    """Something that only a careful reading from the beginning of the file can judge."""


class NoRandomAccessError(NeedsSequentialReadError):
    """What the container calls a key frame is no place to begin, or an open one after which the decoder misses what
    came before: nothing is damaged, but only a decoder that comes from the beginning of the file can go on."""


class GopDecoder:
    """threads: of the decoder. now: the latest presentation time that has come out in the present run, ticks.

    Any thread may use it, one at a time.
    """

    def __init__(self, probe: Probe, threads: int) -> None:
        self._probe, self._table, self._threads = probe, probe.table, threads
        self._can_seek = probe.seeks_exactly
        self._container: InputContainer | None = None
        self._place = 0
        self._recent: deque[Packet[VideoStream]] = deque(maxlen=NEAR_PACKETS)
        self.now, self._is_open_entry = _NOTHING_YET, False
        self.decoded = 0

    def close(self) -> None:
        if self._container is not None:
            self._container.close()

    def read(self, run: PacketRun) -> Iterator[VideoFrame]:
        """The frames of the run's targets, in order, all of them or NeedsSequentialReadError. Runs must be in order."""
        if self._container is None:
            self._open()
        self.now, self._is_open_entry = _NOTHING_YET, False
        rest = deque(run.targets)
        try:
            for packet in self._needed(run):
                if packet.is_corrupt:
                    raise NeedsSequentialReadError
                frames = decode_packet(self._decoder, packet, unchecked=self._probe.source.unchecked)
                yield from self._taken(frames, rest)
            yield from self._taken(decode_packet(self._decoder, None), rest)
        except (TruncatedStreamError, PacketDecodeError, NeedsSequentialReadError) as error:
            raise NoRandomAccessError if self._is_open_entry else NeedsSequentialReadError from error
        self._decoder.flush_buffers()
        if rest:
            raise NeedsSequentialReadError

    def _needed(self, run: PacketRun) -> Iterator[Packet[VideoStream]]:
        wanted = {target.pts for target in run.targets}
        for packet in self._packets_of(run):
            if packet.pts in wanted or not self._is_needless(packet, run):
                yield packet

    def _is_needless(self, packet: Packet[VideoStream], run: PacketRun) -> bool:
        """Pictures that no other refers to; and those coded after the key frame that are shown before it, which refer
        to what came before it and which no later picture refers to."""
        if self._bitstream.is_disposable(memoryview(packet)):
            return True
        leads = run.start is not None and packet.pts is not None and packet.pts < run.start
        return leads and self._probe.media.codec in _REORDERING

    def _taken(self, frames: list[VideoFrame], rest: deque[Target]) -> Iterator[VideoFrame]:
        """Takes the targets off `rest` as their frames come out."""
        for frame in frames:
            self.decoded += 1
            if frame.is_corrupt or frame.pts is None or frame.pts <= self.now:
                raise NeedsSequentialReadError
            self.now = frame.pts
            if rest and frame.pts >= rest[0].pts:
                if frame.pts != rest.popleft().pts:
                    raise NeedsSequentialReadError
                yield frame

    def _packets_of(self, run: PacketRun) -> Iterator[Packet[VideoStream]]:
        self._go_to(run)
        for packet in self._packets:
            place, self._place = self._place, self._place + 1
            self._recent.append(packet)
            if place == run.first and run.start is not None:
                self._check_entry(packet, run.start)
            if place >= run.first:
                yield packet
            if place >= run.last:
                return
        raise NeedsSequentialReadError

    def _check_entry(self, packet: Packet[VideoStream], start: int) -> None:
        if packet.pts != start:
            raise NeedsSequentialReadError
        entry = self._bitstream.random_access(memoryview(packet))
        if entry is RandomAccess.NONE:
            raise NoRandomAccessError
        self._is_open_entry = entry is RandomAccess.OPEN

    def _open(self) -> None:
        self.close()
        self._container, self._stream = open_video(self._probe.source)
        context = configure_decoder(self._stream, explode=True, unchecked=self._probe.source.unchecked)
        context.thread_count = self._threads
        context.thread_type = "FRAME" if self._threads > 1 else "SLICE"
        self._decoder = context
        self._bitstream = BitstreamParser(self._stream.codec.canonical_name, context.extradata)
        self._packets: Iterator[Packet[VideoStream]] = read_packets(self._container, self._stream)
        self._place = 0
        self._recent.clear()

    def _go_to(self, run: PacketRun) -> None:
        """To the run's first packet or to some before it."""
        back = self._place - run.first
        if 0 < back <= len(self._recent):
            again = [self._recent.pop() for _ in range(back)]
            self._packets, self._place = chain(reversed(again), self._packets), run.first
        elif self._can_seek and run.start is not None and not -NEAR_PACKETS <= back <= 0:
            self._seek(run.start, run.first)
        elif back > 0:
            self._open()

    def _seek(self, start: int, place: int) -> None:
        """Goes to the packet at `place` or before it; where seeking does not lead there, to the file's beginning."""
        assert self._container is not None
        self._container.seek(start, stream=self._stream)
        packets = read_packets(self._container, self._stream)
        packet = next(packets, None)
        landed = None if packet is None or packet.pts is None else self._table.index_of(packet.pts)
        if packet is None or landed is None or self._table.order[landed] > place:
            self._open()
        else:
            self._packets, self._place = chain([packet], packets), int(self._table.order[landed])
            self._recent.clear()

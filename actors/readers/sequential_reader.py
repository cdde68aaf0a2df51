"""The PyAV reader: decodes in sequence and believes only presentation times.

A first pass begins at the first key frame that is needed, with as many threads as allowed. At the first sign of
trouble (a damaged packet, a frame marked corrupt, a wanted time that does not come out) the rest is read by a second
pass from the beginning of the file with one thread, in which it is certain which packet did the damage. So what is
given does not depend on the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TypeAlias, TypeVar

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from actors.container.checked_decoder import PacketDecodeError, configure_decoder, decode_packet
from actors.container.codec_bitstream import BitstreamParser
from actors.container.open_video import TruncatedStreamError, open_video, read_packets
from actors.container.probe import Probe
from actors.plan.frame_selection import GopTargets, Target
from actors.plan.frame_table import MAX_PTS
from actors.readers.gop_pool import MAX_REORDERED

Event: TypeAlias = "Packet[VideoStream] | VideoFrame"
"""What a pass sees, in order: each packet before it is decoded, and each frame that comes out."""


T = TypeVar("T")


class _TroubleError(Exception):
    """The first pass saw something that only the second can judge."""


class SequentialReader:
    """threads: decoder threads. careful: only the second pass."""

    upright = False

    def __init__(self, probe: Probe, *, threads: int = 1, careful: bool = False) -> None:
        self._probe, self._table = probe, probe.table
        self._threads, self._careful = threads, careful or bool(probe.corrupt_packets)
        self._settled = probe.table.settled_at()
        self.decoded = self.repeated = 0
        self.missing: list[Target] = []

    def read(self, gops: Sequence[GopTargets], finish: Callable[[VideoFrame], T]) -> Iterator[tuple[Target, T]]:
        rest = deque(target for gop in gops for target in gop.targets)
        self.missing = []
        if not self._careful and not self._table.by_ordinal:
            with suppress(_TroubleError):
                yield from _finished(self._first_pass(rest, gops[0].start), finish)
        if rest:
            yield from _finished(self._second_pass(rest), finish)

    def _first_pass(self, rest: deque[Target], start: int | None) -> Iterator[tuple[Target, VideoFrame]]:
        """Takes from `rest` what it gives; raises _TroubleError."""
        waiting: deque[tuple[Target, VideoFrame]] = deque()
        for event in self._events(rest, self._threads, self._seek_to(start), _raise_trouble, strict=True):
            if isinstance(event, Packet):
                if event.is_corrupt:
                    raise _TroubleError
                continue
            if event.is_corrupt or event.pts is None:
                raise _TroubleError
            if len(waiting) < len(rest) and event.pts >= rest[len(waiting)].pts:
                target = rest[len(waiting)]
                if event.pts > target.pts:
                    raise _TroubleError
                waiting.append((target, event))
            while self._is_settled(waiting, event.pts):
                rest.popleft()
                yield waiting.popleft()
            if not rest:
                return
        if len(waiting) < len(rest):
            raise _TroubleError
        while waiting:
            rest.popleft()
            yield waiting.popleft()

    def _second_pass(self, rest: deque[Target]) -> Iterator[tuple[Target, VideoFrame]]:
        damage = _Damage(self._probe)
        waiting: deque[tuple[Target, VideoFrame]] = deque()

        def damaged_packet() -> None:
            damage.mark(self._output_number if self._table.by_ordinal else self._packet_number)

        for event in self._events(rest, 1, None, damaged_packet):
            if isinstance(event, Packet):
                if event.is_corrupt or self._packet_number in self._probe.corrupt_packets:
                    damaged_packet()
                continue
            index = self._index_of(event)
            if index is None:
                continue
            if event.is_corrupt:
                damage.mark(int(self._table.order[index]))
            while rest and rest[0].index < index:
                self.missing.append(rest.popleft())
            if rest and rest[0].index == index:
                waiting.append((rest.popleft(), event))
            yield from self._certain(waiting, damage, int(self._table.pts[index]))
            if not rest and not waiting:
                return
        yield from self._certain(waiting, damage, MAX_PTS)
        self.missing.extend(rest)

    def _certain(
        self, waiting: deque[tuple[Target, VideoFrame]], damage: _Damage, now: int
    ) -> Iterator[tuple[Target, VideoFrame]]:
        """Of the frames that nothing can damage any more once `now` has come out, those that are whole."""
        while self._is_settled(waiting, now):
            target, frame = waiting.popleft()
            if damage.touches(target.index):
                self.missing.append(target)
            else:
                yield target, frame

    def _is_settled(self, waiting: deque[tuple[Target, VideoFrame]], now: int) -> bool:
        """Whether every frame that the first one waiting can refer to has come out."""
        return bool(waiting) and (len(waiting) > MAX_REORDERED or now >= self._settled[waiting[0][0].index])

    def _index_of(self, frame: VideoFrame) -> int | None:
        """The displayed frame that this is; None when it is not displayed."""
        self._output_number += 1
        if self._table.by_ordinal:
            return self._output_number if self._output_number < len(self._table) else None
        return None if frame.pts is None else self._table.index_of(frame.pts)

    def _seek_to(self, start: int | None) -> int | None:
        """The key frame to begin with; None for the beginning of the file, when that is it or seeking is not safe."""
        if start is None or start <= self._table.pts[0] or not self._probe.seeks_exactly:
            return None
        return start

    def _events(
        self,
        targets: Iterable[Target],
        threads: int,
        seek_to: int | None,
        on_damage: Callable[[], None],
        *,
        strict: bool = False,
    ) -> Iterator[Event]:
        """All but packets of pictures that are no target and that no other picture refers to."""
        self._output_number, self._packet_number, latest = -1, -1, None
        wanted = {target.pts for target in targets}
        container, stream = open_video(self._probe.source)
        with container:
            context = configure_decoder(stream, explode=strict, unchecked=self._probe.source.unchecked)
            context.thread_count = threads
            context.thread_type = "FRAME" if threads > 1 else "SLICE"
            bitstream = BitstreamParser(self._probe.media.codec, context.extradata)
            if seek_to is not None:
                container.seek(seek_to, stream=stream)
            for packet in _to_the_end(container, stream):
                if packet is not None and seek_to is not None:
                    _check_landing(packet, seek_to)
                    seek_to = None
                if packet is not None:
                    self._packet_number += 1
                    if self._is_needless(packet, wanted, bitstream):
                        continue
                    yield packet
                try:
                    frames = decode_packet(context, packet, unchecked=self._probe.source.unchecked)
                except PacketDecodeError:
                    on_damage()
                    continue
                for frame in frames:
                    self.decoded += 1
                    self.repeated += frame.pts == latest
                    latest = frame.pts
                    yield frame

    def _is_needless(self, packet: Packet[VideoStream], wanted: set[int], bitstream: BitstreamParser) -> bool:
        if self._table.by_ordinal or packet.pts in wanted:
            return False
        return bitstream.is_disposable(memoryview(packet))


def _finished(
    frames: Iterator[tuple[Target, VideoFrame]], finish: Callable[[VideoFrame], T]
) -> Iterator[tuple[Target, T]]:
    for target, frame in frames:
        frame.pts = target.pts
        yield target, finish(frame)


class _Damage:
    """Which frames may have been spoiled by damaged packets: all from such a packet to the next key frame in decoding
    order, and the pictures that are shown before that key frame but coded after it."""

    def __init__(self, probe: Probe) -> None:
        table = probe.table
        self._pts, self._order = table.pts, table.order
        by_order = np.flatnonzero(table.keys)
        self._keys = by_order[np.argsort(table.order[by_order], kind="stable")]
        self._spoiled: list[tuple[int, int, int]] = []
        """First place, place of the next key frame, its presentation time."""

    def mark(self, place: int) -> None:
        """place: of a damaged packet in decoding order."""
        if self._spoiled and self._spoiled[-1][0] <= place < self._spoiled[-1][1]:
            return
        at = int(np.searchsorted(self._order[self._keys], place, side="right"))
        if at == len(self._keys):
            self._spoiled.append((place, MAX_PTS, MAX_PTS))
        else:
            key = self._keys[at]
            self._spoiled.append((place, int(self._order[key]), int(self._pts[key])))

    def touches(self, index: int) -> bool:
        order, pts = self._order[index], self._pts[index]
        return any(first <= order and (order < key or pts < key_pts) for first, key, key_pts in self._spoiled)


def _to_the_end(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream] | None]:
    """The stream's packets, also of a file that breaks off, and None, which makes the decoder give what it holds."""
    with suppress(TruncatedStreamError):
        yield from read_packets(container, stream)
    yield None


def _check_landing(packet: Packet[VideoStream], wanted: int) -> None:
    """After a seek: a key frame at or before the one that is wanted."""
    if not packet.is_keyframe or packet.pts is None or packet.pts > wanted:
        raise _TroubleError


def _raise_trouble() -> None:
    raise _TroubleError

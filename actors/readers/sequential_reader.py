"""The sequential reader: decodes forward through the file with PyAV and relies on presentation times only.

A fast pass starts at the first key frame that is needed and uses all threads. At the first sign of damage (a packet
that can't be decoded, a corrupt frame, a target's time that does not come out), the rest is read by a full pass: from
the beginning of the file with one thread, which shows exactly which packet is damaged. So the result does not depend on
the number of threads.
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
from actors.container.open_video import TruncatedStreamError, open_video, read_packets
from actors.container.probe import Probe
from actors.container.random_access_parser import BitstreamParser
from actors.plan.frame_selection import GopTargets, Target
from actors.plan.frame_table import MAX_PTS
from actors.readers.frame_reader import MAX_REORDERED

DecodeEvent: TypeAlias = "Packet[VideoStream] | VideoFrame"
"""What happens in a pass, in order: a packet before it is decoded, or a frame that comes out."""

T = TypeVar("T")


class _FastPassFailedError(Exception):
    """The fast pass saw a sign of damage, which only the full pass can locate."""


class SequentialReader:
    """threads: decoder threads. full_pass_only: without the fast pass."""

    autorotates = False

    def __init__(self, probe: Probe, *, threads: int = 1, full_pass_only: bool = False) -> None:
        self._probe, self._table = probe, probe.table
        self._threads, self._full_pass_only = threads, full_pass_only or bool(probe.corrupt_packets)
        self._confirmation_pts = probe.table.confirmation_pts()
        self.decoded = self.repeated = 0
        self.missing: list[Target] = []

    def read(self, gops: Sequence[GopTargets], process_frame: Callable[[VideoFrame], T]) -> Iterator[tuple[Target, T]]:
        remaining = deque(target for gop in gops for target in gop.targets)
        self.missing = []
        if not self._full_pass_only and not self._table.match_by_index:
            with suppress(_FastPassFailedError):
                yield from _processed(self._fast_pass(remaining, gops[0].key_pts), process_frame)
        if remaining:
            yield from _processed(self._full_pass(remaining), process_frame)

    def _fast_pass(self, remaining: deque[Target], key_pts: int | None) -> Iterator[tuple[Target, VideoFrame]]:
        """Removes the targets that it yields from `remaining`. Raises _FastPassFailedError."""
        unconfirmed: deque[tuple[Target, VideoFrame]] = deque()
        seek_pts = self._seek_pts(key_pts)
        for event in self._decode(remaining, self._threads, seek_pts, _fail_fast_pass, explode=True):
            if isinstance(event, Packet):
                if event.is_corrupt:
                    raise _FastPassFailedError
                continue
            if event.is_corrupt or event.pts is None:
                raise _FastPassFailedError
            if len(unconfirmed) < len(remaining) and event.pts >= remaining[len(unconfirmed)].pts:
                target = remaining[len(unconfirmed)]
                if event.pts > target.pts:
                    raise _FastPassFailedError
                unconfirmed.append((target, event))
            while self._is_first_confirmed(unconfirmed, event.pts):
                remaining.popleft()
                yield unconfirmed.popleft()
            if not remaining:
                return
        if len(unconfirmed) < len(remaining):
            raise _FastPassFailedError
        while unconfirmed:
            remaining.popleft()
            yield unconfirmed.popleft()

    def _full_pass(self, remaining: deque[Target]) -> Iterator[tuple[Target, VideoFrame]]:
        damage = _Damage(self._probe)
        unconfirmed: deque[tuple[Target, VideoFrame]] = deque()

        def mark_current_packet() -> None:
            damage.mark(self._frame_number if self._table.match_by_index else self._packet_number)

        for event in self._decode(remaining, 1, None, mark_current_packet):
            if isinstance(event, Packet):
                if event.is_corrupt or self._packet_number in self._probe.corrupt_packets:
                    mark_current_packet()
                continue
            index = self._next_index_of(event)
            if index is None:
                continue
            if event.is_corrupt:
                damage.mark(int(self._table.decode_order[index]))
            while remaining and remaining[0].index < index:
                self.missing.append(remaining.popleft())
            if remaining and remaining[0].index == index:
                unconfirmed.append((remaining.popleft(), event))
            yield from self._confirmed_frames(unconfirmed, damage, int(self._table.pts[index]))
            if not remaining and not unconfirmed:
                return
        yield from self._confirmed_frames(unconfirmed, damage, MAX_PTS)
        self.missing.extend(remaining)

    def _confirmed_frames(
        self, unconfirmed: deque[tuple[Target, VideoFrame]], damage: _Damage, latest_pts: int
    ) -> Iterator[tuple[Target, VideoFrame]]:
        """The undamaged ones of the frames that are confirmed once `latest_pts` has come out."""
        while self._is_first_confirmed(unconfirmed, latest_pts):
            target, frame = unconfirmed.popleft()
            if damage.affects(target.index):
                self.missing.append(target)
            else:
                yield target, frame

    def _is_first_confirmed(self, unconfirmed: deque[tuple[Target, VideoFrame]], latest_pts: int) -> bool:
        """Whether every frame that the first unconfirmed one can refer to has come out."""
        return bool(unconfirmed) and (
            len(unconfirmed) > MAX_REORDERED or latest_pts >= self._confirmation_pts[unconfirmed[0][0].index]
        )

    def _next_index_of(self, frame: VideoFrame) -> int | None:
        """The index of the frame that came out next; None when it is not displayed."""
        self._frame_number += 1
        if self._table.match_by_index:
            return self._frame_number if self._frame_number < len(self._table) else None
        return None if frame.pts is None else self._table.index_of(frame.pts)

    def _seek_pts(self, key_pts: int | None) -> int | None:
        """The key frame to seek to; None to start at the beginning of the file, as when seeking is not exact."""
        if key_pts is None or key_pts <= self._table.pts[0] or not self._probe.seeks_exactly:
            return None
        return key_pts

    def _decode(
        self,
        targets: Iterable[Target],
        threads: int,
        seek_pts: int | None,
        on_decode_error: Callable[[], None],
        *,
        explode: bool = False,
    ) -> Iterator[DecodeEvent]:
        """Skips packets of disposable pictures that are no target."""
        self._frame_number, self._packet_number, latest_pts = -1, -1, None
        target_pts = {target.pts for target in targets}
        container, stream = open_video(self._probe.source)
        with container:
            decoder = configure_decoder(stream, explode=explode, unchecked=self._probe.source.unchecked)
            decoder.thread_count = threads
            decoder.thread_type = "FRAME" if threads > 1 else "SLICE"
            bitstream = BitstreamParser(self._probe.media.codec, decoder.extradata)
            if seek_pts is not None:
                container.seek(seek_pts, stream=stream)
            for packet in _packets_and_flush(container, stream):
                if packet is not None and seek_pts is not None:
                    _check_seek(packet, seek_pts)
                    seek_pts = None
                if packet is not None:
                    self._packet_number += 1
                    if self._is_skippable(packet, target_pts, bitstream):
                        continue
                    yield packet
                try:
                    frames = decode_packet(decoder, packet, unchecked=self._probe.source.unchecked)
                except PacketDecodeError:
                    on_decode_error()
                    continue
                for frame in frames:
                    self.decoded += 1
                    self.repeated += frame.pts == latest_pts
                    latest_pts = frame.pts
                    yield frame

    def _is_skippable(self, packet: Packet[VideoStream], target_pts: set[int], bitstream: BitstreamParser) -> bool:
        if self._table.match_by_index or packet.pts in target_pts:
            return False
        return bitstream.is_disposable(memoryview(packet))


def _processed(
    frames: Iterator[tuple[Target, VideoFrame]], process_frame: Callable[[VideoFrame], T]
) -> Iterator[tuple[Target, T]]:
    for target, frame in frames:
        frame.pts = target.pts
        yield target, process_frame(frame)


class _Damage:
    """Which frames damaged packets may affect: all from such a packet to the next key frame in decoding order, and the
    leading pictures of that key frame."""

    def __init__(self, probe: Probe) -> None:
        table = probe.table
        self._pts, self._decode_order = table.pts, table.decode_order
        keys = np.flatnonzero(table.is_key)
        self._keys = keys[np.argsort(table.decode_order[keys], kind="stable")]
        self._ranges: list[tuple[int, int, int]] = []
        """The damaged packet's place, the place of the next key frame, and that key frame's presentation time."""

    def mark(self, place: int) -> None:
        """place: of a damaged packet in decoding order."""
        if self._ranges and self._ranges[-1][0] <= place < self._ranges[-1][1]:
            return
        next_key = int(np.searchsorted(self._decode_order[self._keys], place, side="right"))
        if next_key == len(self._keys):
            self._ranges.append((place, MAX_PTS, MAX_PTS))
        else:
            key = self._keys[next_key]
            self._ranges.append((place, int(self._decode_order[key]), int(self._pts[key])))

    def affects(self, index: int) -> bool:
        place, pts = self._decode_order[index], self._pts[index]
        return any(first <= place and (place < key or pts < key_pts) for first, key, key_pts in self._ranges)


def _packets_and_flush(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream] | None]:
    """The stream's packets, also of a truncated file; then None, which flushes the decoder."""
    with suppress(TruncatedStreamError):
        yield from read_packets(container, stream)
    yield None


def _check_seek(packet: Packet[VideoStream], seek_pts: int) -> None:
    """Raises _FastPassFailedError unless the first packet after a seek is a key frame at or before its goal."""
    if not packet.is_keyframe or packet.pts is None or packet.pts > seek_pts:
        raise _FastPassFailedError


def _fail_fast_pass() -> None:
    raise _FastPassFailedError

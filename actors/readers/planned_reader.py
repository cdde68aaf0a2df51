"""The planned reader: decodes only the packets that a plan needs, several runs of them at the same time.

Proven byte-identical to a sequential decode for the codecs and containers below; everything else is read in sequence.
Each run begins at a key frame and ends at its last target; pictures in it that are no target and that no other refers
to are not decoded. Where the runs are too few to share out, one decoder uses all threads.

At the first sign of trouble (a damaged packet, a frame marked corrupt, a time that does not come out or out of order)
what is certain is given and the rest is read by the sequential reader's careful pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from av.video.frame import VideoFrame

from actors.container.probe import Probe
from actors.plan.frame_selection import GopTargets, Target
from actors.plan.gop_schedule import MAX_UNEVEN, PacketRun, decoders, schedule
from actors.readers.gop_decoder import GopDecoder, NeedsSequentialReadError, NoRandomAccessError
from actors.readers.gop_pool import GopPool
from actors.readers.sequential_reader import SequentialReader
from db.values.file_type import Container

CODECS = {"h264", "hevc", "vp8", "vp9", "av1"}
CONTAINERS = {Container.MP4, Container.MATROSKA, Container.MPEG_TS}
ALONE = {"vp9"}
"""Their decoder's threads help little."""
WINDOW_BYTES = 8 << 20
"""Of finished images that wait for the consumer; one is taken for half a byte a pixel, twice what JPEG needs."""
T = TypeVar("T")


class PlannedReader:
    """threads: that decode and make images."""

    upright = False

    def __init__(self, probe: Probe, *, threads: int = 1) -> None:
        self._probe, self._threads = probe, threads
        self.decoded = self.repeated = 0
        self.missing: list[Target] = []

    def read(self, gops: Sequence[GopTargets], finish: Callable[[VideoFrame], T]) -> Iterator[tuple[Target, T]]:
        runs = schedule(self._probe.table, gops) if is_proven(self._probe) else None
        if runs is None:
            yield from self._in_sequence(gops, finish, careful=False)
            return
        given, is_damaged, media = 0, True, self._probe.media
        lanes = self._lanes(runs)
        window = max(2 * self._threads, 2 * WINDOW_BYTES // (media.width * media.height))
        crew = GopPool(runs, lanes, self._threads, finish, settled=self._probe.table.settled_at(), window=window)
        try:
            with closing(crew.results()) as results:
                for item in results:
                    given += 1
                    yield item
        except NeedsSequentialReadError as trouble:
            is_damaged = not isinstance(trouble, NoRandomAccessError)
        finally:
            self.decoded += sum(lane.decoded for lane in lanes)
        rest = tuple(target for gop in gops for target in gop.targets)[given:]
        if rest:
            yield from self._in_sequence([GopTargets(None, rest)], finish, careful=is_damaged)

    def _lanes(self, runs: Sequence[PacketRun]) -> list[GopDecoder]:
        max_uneven = self._threads if self._probe.media.codec in ALONE else MAX_UNEVEN
        count = decoders(runs, self._threads, max_uneven)
        return [GopDecoder(self._probe, self._threads if count == 1 else 1) for _ in range(count)]

    def _in_sequence(
        self, gops: Sequence[GopTargets], finish: Callable[[VideoFrame], T], *, careful: bool
    ) -> Iterator[tuple[Target, T]]:
        reader = SequentialReader(self._probe, threads=self._threads, careful=careful)
        try:
            yield from reader.read(gops, finish)
        finally:
            self.decoded, self.repeated = self.decoded + reader.decoded, reader.repeated
            self.missing = reader.missing


def is_proven(probe: Probe) -> bool:
    """Whether decoding from any key frame gives the same bytes as decoding from the beginning."""
    table_is_true = not (probe.table.by_ordinal or probe.corrupt_packets)
    return table_is_true and probe.media.codec in CODECS and probe.source.container in CONTAINERS

"""The planned reader: decodes only the packets that a plan needs, several packet runs at the same time.

It is verified to give the same bytes as a sequential decode for the codecs and containers below. Everything else is
read sequentially. Each run starts at a key frame and ends at its last target. Disposable pictures that are no target
are not decoded. When there are too few runs for all threads, one decoder uses all threads.

At the first sign of damage (a corrupt packet or frame, a time that is missing or out of order), it gives the confirmed
frames, and the sequential reader reads the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from av.video.frame import VideoFrame

from actors.container.probe import Probe
from actors.plan.frame_selection import GopTargets, Target
from actors.plan.gop_schedule import MAX_IMBALANCE, PacketRun, decoder_count, schedule_runs
from actors.readers.gop_decoder import GopDecoder, NeedsSequentialReadError, NoRandomAccessError
from actors.readers.gop_pool import GopPool
from actors.readers.sequential_reader import SequentialReader
from db.values.file_type import Container

VERIFIED_CODECS = {"h264", "hevc", "vp8", "vp9", "av1"}
VERIFIED_CONTAINERS = {Container.MP4, Container.MATROSKA, Container.MPEG_TS}
_POORLY_THREADED_CODECS = {"vp9"}
"""Several threads make their decoder hardly faster."""
WINDOW_BYTES = 8 << 20
"""Of processed frames that wait for the consumer. Each counts as half a byte a pixel, twice what a JPEG takes."""

T = TypeVar("T")


class PlannedReader:
    """threads: for decoding and processing."""

    autorotates = False

    def __init__(self, probe: Probe, *, threads: int = 1) -> None:
        self._probe, self._threads = probe, threads
        self.decoded = self.repeated = 0
        self.missing: list[Target] = []

    def read(self, gops: Sequence[GopTargets], process_frame: Callable[[VideoFrame], T]) -> Iterator[tuple[Target, T]]:
        runs = schedule_runs(self._probe.table, gops) if has_exact_random_access(self._probe) else None
        if runs is None:
            yield from self._read_sequentially(gops, process_frame, full_pass_only=False)
            return
        given, is_damaged, media = 0, True, self._probe.media
        decoders = self._decoders_for(runs)
        window = max(2 * self._threads, 2 * WINDOW_BYTES // (media.width * media.height))
        confirmation_pts = self._probe.table.confirmation_pts()
        pool = GopPool(runs, decoders, self._threads, process_frame, confirmation_pts=confirmation_pts, window=window)
        try:
            with closing(pool.results()) as results:
                for item in results:
                    given += 1
                    yield item
        except NeedsSequentialReadError as error:
            is_damaged = not isinstance(error, NoRandomAccessError)
        finally:
            self.decoded += sum(decoder.decoded for decoder in decoders)
        remaining = tuple(target for gop in gops for target in gop.targets)[given:]
        if remaining:
            rest = [GopTargets(None, remaining)]
            yield from self._read_sequentially(rest, process_frame, full_pass_only=is_damaged)

    def _decoders_for(self, runs: Sequence[PacketRun]) -> list[GopDecoder]:
        max_imbalance = self._threads if self._probe.media.codec in _POORLY_THREADED_CODECS else MAX_IMBALANCE
        count = decoder_count(runs, self._threads, max_imbalance)
        return [GopDecoder(self._probe, self._threads if count == 1 else 1) for _ in range(count)]

    def _read_sequentially(
        self, gops: Sequence[GopTargets], process_frame: Callable[[VideoFrame], T], *, full_pass_only: bool
    ) -> Iterator[tuple[Target, T]]:
        reader = SequentialReader(self._probe, threads=self._threads, full_pass_only=full_pass_only)
        try:
            yield from reader.read(gops, process_frame)
        finally:
            self.decoded, self.repeated = self.decoded + reader.decoded, reader.repeated
            self.missing = reader.missing


def has_exact_random_access(probe: Probe) -> bool:
    """Whether decoding from any key frame gives the same bytes as decoding from the beginning."""
    is_table_exact = not (probe.table.match_by_index or probe.corrupt_packets)
    is_verified = probe.media.codec in VERIFIED_CODECS and probe.source.container in VERIFIED_CONTAINERS
    return is_table_exact and is_verified

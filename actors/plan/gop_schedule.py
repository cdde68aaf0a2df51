"""Which stretches of packets have to be decoded for a plan, and by how many decoders at once. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from actors.plan.frame_selection import GopTargets, Target
from actors.plan.frame_table import FrameTable

MIN_PICTURES = 32
"""Neighboring groups of pictures are decoded in one go up to this length: to begin anew costs something."""
MAX_UNEVEN = 1.2
"""So much longer than an even share may the busiest of several decoders take; beyond it the threads of one decoder
share the work better (two threads of most decoders come to 1.7 to 1.9 of one)."""


@dataclass(frozen=True, slots=True)
class PacketRun:
    """Packets in decoding order, from a key frame to the last one that a target needs.

    start: presentation time of the key frame, ticks; None when decoding has to begin with the file. first, last: places
    in decoding order, counted over all packets.
    """

    start: int | None
    first: int
    last: int
    targets: tuple[Target, ...]

    @property
    def pictures(self) -> int:
        return self.last - self.first + 1


def schedule(table: FrameTable, gops: Sequence[GopTargets]) -> tuple[PacketRun, ...] | None:
    """The runs in order, with every target once; None when a picture is coded before the key frame that is shown before
    it, which no orderly stream has."""
    runs = [_run(table, gop) for gop in gops]
    if any(table.order[target.index] < run.first for run in runs for target in run.targets):
        return None
    return tuple(_merged(runs))


def decoders(runs: Sequence[PacketRun], threads: int, max_uneven: float = MAX_UNEVEN) -> int:
    """How many runs are decoded at the same time, each by one thread; 1 when `threads` threads of one decoder do
    better."""
    if len(runs) < 2:
        return 1
    costs = [run.pictures + len(run.targets) for run in runs]
    busy = [0] * threads
    for cost in costs:
        heapq.heapreplace(busy, busy[0] + cost)
    return threads if max(busy) * threads <= max_uneven * sum(costs) else 1


def _run(table: FrameTable, gop: GopTargets) -> PacketRun:
    last = max(int(table.order[target.index]) for target in gop.targets)
    key = None if gop.start is None else table.index_of(gop.start)
    if key is None:
        return PacketRun(None, 0, last, gop.targets)
    return PacketRun(gop.start, int(table.order[key]), last, gop.targets)


def _merged(runs: Sequence[PacketRun]) -> Iterator[PacketRun]:
    """Joins what has no gap between and is short."""
    open_run: PacketRun | None = None
    for run in runs:
        if open_run is None:
            open_run = run
        elif run.first <= open_run.last + 1 and open_run.pictures < MIN_PICTURES:
            targets = open_run.targets + run.targets
            open_run = replace(open_run, last=max(open_run.last, run.last), targets=targets)
        else:
            yield open_run
            open_run = run
    if open_run is not None:
        yield open_run

"""Decides which runs of packets are decoded for a plan, and by how many decoders at once. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from actors.plan.frame_selection import GopTargets, Target
from actors.plan.frame_table import FrameTable

MIN_RUN_PACKETS = 32
"""Adjacent GOPs are joined to runs up to this length: every start of a run has a cost."""
MAX_IMBALANCE = 1.2
"""The busiest of several decoders may take so many times an even share. With a larger imbalance the threads of one
decoder share the work better: two threads of most decoders are 1.7 to 1.9 times as fast as one."""


@dataclass(frozen=True, slots=True)
class PacketRun:
    """Packets in decoding order, from a key frame to the last packet that a target needs.

    key_pts: presentation time of the key frame, ticks; None when decoding starts at the beginning of the file. first,
    last: places in decoding order, counted over all packets.
    """

    key_pts: int | None
    first: int
    last: int
    targets: tuple[Target, ...]

    @property
    def packet_count(self) -> int:
        return self.last - self.first + 1


def schedule_runs(table: FrameTable, gops: Sequence[GopTargets]) -> tuple[PacketRun, ...] | None:
    """The runs in order, with every target once.

    None when a target comes before its key frame in decoding order, which no valid stream has.
    """
    runs = [_run_of(table, gop) for gop in gops]
    if any(table.decode_order[target.index] < run.first for run in runs for target in run.targets):
        return None
    return tuple(_join_short_runs(runs))


def decoder_count(runs: Sequence[PacketRun], threads: int, max_imbalance: float = MAX_IMBALANCE) -> int:
    """The number of runs to decode at the same time, each by one thread.

    1 when `threads` threads of one decoder are faster.
    """
    if len(runs) < 2:
        return 1
    costs = [run.packet_count + len(run.targets) for run in runs]
    busy = [0] * threads
    for cost in costs:
        heapq.heapreplace(busy, busy[0] + cost)
    return threads if max(busy) * threads <= max_imbalance * sum(costs) else 1


def _run_of(table: FrameTable, gop: GopTargets) -> PacketRun:
    last = max(int(table.decode_order[target.index]) for target in gop.targets)
    key = None if gop.key_pts is None else table.index_of(gop.key_pts)
    if key is None:
        return PacketRun(None, 0, last, gop.targets)
    return PacketRun(gop.key_pts, int(table.decode_order[key]), last, gop.targets)


def _join_short_runs(runs: Sequence[PacketRun]) -> Iterator[PacketRun]:
    """Joins a short run with the run after it when no packet lies between them."""
    open_run: PacketRun | None = None
    for run in runs:
        if open_run is None:
            open_run = run
        elif run.first <= open_run.last + 1 and open_run.packet_count < MIN_RUN_PACKETS:
            targets = open_run.targets + run.targets
            open_run = replace(open_run, last=max(open_run.last, run.last), targets=targets)
        else:
            yield open_run
            open_run = run
    if open_run is not None:
        yield open_run

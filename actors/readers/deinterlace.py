"""Whole pictures of interlaced video: bwdif, which makes one picture of a frame's two fields and its neighbors.

One frame in, one frame out, so that every picture keeps its index and time. A picture depends on the frame itself, the
one before and the one after, and on nothing else: the same whatever else is asked for. Frames that say they are not
interlaced stay as they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import av
from av.error import BlockingIOError as NotYetError
from av.error import EOFError as GraphEndError
from av.video.frame import VideoFrame

from actors.plan.frame_selection import GopTargets, Target, gop_targets
from actors.plan.frame_table import FrameTable
from actors.readers.frame_reader import FrameReader

BWDIF = "mode=send_frame:parity=auto:deint=interlaced"

T = TypeVar("T")


class DeinterlacingReader:
    """Reads through another reader, which is asked for the neighbors too."""

    def __init__(self, reader: FrameReader, table: FrameTable) -> None:
        self._reader, self._table = reader, table
        self.upright = reader.upright
        self.decoded = self.repeated = 0
        self.missing: list[Target] = []

    def read(self, planned: Sequence[GopTargets], finish: Callable[[VideoFrame], T]) -> Iterator[tuple[Target, T]]:
        wanted = {target.index for gop in planned for target in gop.targets}
        last = len(self._table) - 1
        around = sorted({min(max(index + step, 0), last) for index in wanted for step in (-1, 0, 1)})
        frames = self._reader.read(gop_targets(self._table, around), lambda frame: frame)
        for target, frame in _deinterlaced(frames):
            if target.index in wanted:
                frame.pts = target.pts
                yield target, finish(frame)
        self.decoded, self.repeated = self._reader.decoded, self._reader.repeated
        self.missing = [target for target in self._reader.missing if target.index in wanted]


def _deinterlaced(frames: Iterator[tuple[Target, VideoFrame]]) -> Iterator[tuple[Target, VideoFrame]]:
    run: _Run | None = None
    for target, frame in frames:
        if run is None or not run.goes_on_with(target, frame):
            if run is not None:
                yield from run.finish()
            run = _Run(frame)
        yield from run.push(target, frame)
    if run is not None:
        yield from run.finish()


class _Run:
    """Frames that follow each other, of one size and format, through one filter."""

    def __init__(self, first: VideoFrame) -> None:
        self._kind = _kind(first)
        self._targets: deque[Target] = deque()
        self._latest: Target | None = None
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        source = self._graph.add(
            "buffer",
            video_size=f"{first.width}x{first.height}",
            pix_fmt=first.format.name,
            time_base="1/1",
            colorspace=str(int(first.colorspace)),
            range=str(int(first.color_range)),
        )
        filters = (self._graph.add("bwdif", BWDIF), self._graph.add("buffersink"))
        self._graph.link_nodes(source, *filters).configure()

    def goes_on_with(self, target: Target, frame: VideoFrame) -> bool:
        assert self._latest is not None
        return target.index == self._latest.index + 1 and _kind(frame) == self._kind

    def push(self, target: Target, frame: VideoFrame) -> Iterator[tuple[Target, VideoFrame]]:
        self._targets.append(target)
        self._latest = target
        frame.pts = target.index
        self._graph.push(frame)
        yield from self._ready()

    def finish(self) -> Iterator[tuple[Target, VideoFrame]]:
        self._graph.push(None)
        yield from self._ready()
        assert not self._targets

    def _ready(self) -> Iterator[tuple[Target, VideoFrame]]:
        while self._targets:
            try:
                picture = self._graph.pull()
            except (NotYetError, GraphEndError):
                return
            assert isinstance(picture, VideoFrame)
            yield self._targets.popleft(), picture


def _kind(frame: VideoFrame) -> tuple[int, int, str, int, int]:
    return frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range)

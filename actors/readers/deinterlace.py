"""Deinterlaces with FFmpeg's bwdif, which makes one picture of a frame's two fields and its neighbors.

One frame in, one frame out, so that every picture keeps its index and time. A picture depends only on the frame itself,
the frame before and the frame after, and so is the same whatever else is extracted. Frames that are not tagged as
interlaced stay as they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import av
from av.error import BlockingIOError as NeedsMoreInputError
from av.error import EOFError as EndOfGraphError
from av.video.frame import VideoFrame

from actors.plan.frame_selection import GopTargets, Target, group_by_gop
from actors.plan.frame_table import FrameTable
from actors.readers.frame_reader import FrameReader

BWDIF_OPTIONS = "mode=send_frame:parity=auto:deint=interlaced"

T = TypeVar("T")


class DeinterlacingReader:
    """Reads the targets and their neighbors with another reader, and deinterlaces the targets."""

    def __init__(self, reader: FrameReader, table: FrameTable) -> None:
        self._reader, self._table = reader, table
        self.autorotates = reader.autorotates
        self.decoded = self.repeated = 0
        self.missing: list[Target] = []

    def read(self, gops: Sequence[GopTargets], process_frame: Callable[[VideoFrame], T]) -> Iterator[tuple[Target, T]]:
        target_indexes = {target.index for gop in gops for target in gop.targets}
        with_neighbors = group_by_gop(self._table, self._table.with_neighbors(target_indexes))
        for target, frame in _deinterlace(self._reader.read(with_neighbors, lambda frame: frame)):
            if target.index in target_indexes:
                frame.pts = target.pts
                yield target, process_frame(frame)
        self.decoded, self.repeated = self._reader.decoded, self._reader.repeated
        self.missing = [target for target in self._reader.missing if target.index in target_indexes]


def _deinterlace(frames: Iterator[tuple[Target, VideoFrame]]) -> Iterator[tuple[Target, VideoFrame]]:
    graph: _BwdifGraph | None = None
    for target, frame in frames:
        if graph is None or not graph.accepts(target, frame):
            if graph is not None:
                yield from graph.finish()
            graph = _BwdifGraph(frame)
        yield from graph.push(target, frame)
    if graph is not None:
        yield from graph.finish()


class _BwdifGraph:
    """A filter graph for consecutive frames of one size and format."""

    def __init__(self, first: VideoFrame) -> None:
        self._format = _format_of(first)
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
        filters = (self._graph.add("bwdif", BWDIF_OPTIONS), self._graph.add("buffersink"))
        self._graph.link_nodes(source, *filters).configure()

    def accepts(self, target: Target, frame: VideoFrame) -> bool:
        """Whether the frame follows the latest one and has its format."""
        assert self._latest is not None
        return target.index == self._latest.index + 1 and _format_of(frame) == self._format

    def push(self, target: Target, frame: VideoFrame) -> Iterator[tuple[Target, VideoFrame]]:
        self._targets.append(target)
        self._latest = target
        frame.pts = target.index
        self._graph.push(frame)
        yield from self._pull()

    def finish(self) -> Iterator[tuple[Target, VideoFrame]]:
        self._graph.push(None)
        yield from self._pull()
        assert not self._targets

    def _pull(self) -> Iterator[tuple[Target, VideoFrame]]:
        while self._targets:
            try:
                picture = self._graph.pull()
            except (NeedsMoreInputError, EndOfGraphError):
                return
            assert isinstance(picture, VideoFrame)
            yield self._targets.popleft(), picture


def _format_of(frame: VideoFrame) -> tuple[int, int, str, int, int]:
    return frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range)

"""Runs FFmpeg's filters on single frames: one frame in, one frame out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import av
import numpy as np
from av.video.frame import VideoFrame

from actors.images.color_conversion import PAD_TO_EVEN, Filters
from actors.images.frame_format import FrameFormat

RunFilters = Callable[[VideoFrame], VideoFrame]


class ThreadFilterGraph(threading.local):
    """The filter graph of the calling thread; built anew when a frame has another format than the frame before it."""

    _source: FrameFormat | None = None
    _run: RunFilters | None = None

    def prepare(self, source: FrameFormat, filters_for: Callable[[FrameFormat], Filters]) -> RunFilters:
        """The filters, ready for a frame of this format. filters_for: the filters for frames of a format."""
        if self._run is None or source != self._source:
            self._run, self._source = _filter_chain(source, filters_for(source)), source
        return self._run


def _filter_chain(source: FrameFormat, filters: Filters) -> RunFilters:
    if not filters:
        return lambda frame: frame
    if (PAD_TO_EVEN, None) in filters:
        split = filters.index((PAD_TO_EVEN, None))
        before, after = _filter_chain(source, filters[:split]), _LazyFilterChain(source, filters[split + 1 :])
        return lambda frame: after.run(_pad_to_even(before(frame)))
    return _filter_graph(source, filters)


class _LazyFilterChain:
    """Filters after other filters: the first frame tells the size and pixel format of their input."""

    def __init__(self, source: FrameFormat, filters: Filters) -> None:
        self._source, self._filters = source, filters
        self._run: RunFilters | None = None

    def run(self, frame: VideoFrame) -> VideoFrame:
        if self._run is None:
            source = replace(self._source, width=frame.width, height=frame.height, pixel_format=frame.format.name)
            self._run = _filter_chain(source, self._filters)
        frame.colorspace, frame.color_range = self._source.matrix, self._source.range
        return self._run(frame)


def _pad_to_even(frame: VideoFrame) -> VideoFrame:
    padded = VideoFrame(frame.width + frame.width % 2, frame.height + frame.height % 2, frame.format.name)
    sample_bytes = 2 if frame.format.components[0].bits > 8 else 1
    for old, new in zip(frame.planes, padded.planes, strict=True):
        dtype = np.dtype(f"u{sample_bytes}")
        rows = np.frombuffer(memoryview(old), dtype).reshape(-1, old.line_size // sample_bytes)
        unpadded = rows[: old.height, : old.width]
        samples = np.zeros((new.height, new.line_size // sample_bytes), dtype)
        samples[: old.height, : old.width] = unpadded
        samples[: old.height, old.width : new.width] = unpadded[:, -1:]
        samples[old.height :] = samples[old.height - 1]
        new.update(samples.tobytes())
    return padded


def _filter_graph(source: FrameFormat, filters: Filters) -> RunFilters:
    graph = av.filter.Graph()
    graph.threads = 1
    buffer = graph.add(
        "buffer",
        video_size=f"{source.width}x{source.height}",
        pix_fmt=source.pixel_format,
        time_base="1/1",
        colorspace=str(source.matrix),
        range=str(source.range),
    )
    nodes = [graph.add(name, arguments) for name, arguments in filters]
    graph.link_nodes(buffer, *nodes, graph.add("buffersink")).configure()

    def run(frame: VideoFrame) -> VideoFrame:
        graph.push(frame)
        picture = graph.pull()
        assert isinstance(picture, VideoFrame)
        return picture

    return run

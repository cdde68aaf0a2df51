"""The decord reader: used only for files that decord was seen to read correctly (`decord_envelope`), and verified even
there: `decord_verification` compares a sample of its frames with PyAV's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

import decord
import numpy as np
from av.video.frame import VideoFrame
from decord._ffi.base import DECORDError, DECORDLimitReachedError

from actors.container.probe import Probe
from actors.plan.frame_selection import GopTargets, Target
from actors.plan.frame_table import MAX_PTS, FrameTable
from actors.plan.gop_schedule import PacketRun, schedule_runs
from actors.readers.frame_reader import ReaderFailedError
from actors.readers.gop_pool import GopPool

FAULT_TOLERANCE = 1
"""decord repeats a neighbor for each fault that it tolerates. 1 is the smallest value that it takes."""
BATCH_BYTES = 96 << 20
"""Of decoded pictures in memory."""
_SINGLE_PRECISION = 1e-6
_DECORD_ERRORS = (DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError, IndexError, StopIteration)

T = TypeVar("T")


class DecordReader:
    """One decord decoder with `threads` threads, and as many threads that process frames. on_gpu: the first GPU
    decodes.

    It has a single context: docs/decisions/0007-one-context-of-decord.md.
    Raises ReaderFailedError when decord can't open the file or disagrees with the frame table.
    """

    autorotates = True

    def __init__(self, probe: Probe, *, threads: int = 1, on_gpu: bool = False) -> None:
        self._probe, self._threads = probe, threads
        self.repeated = 0
        self.missing: list[Target] = []
        self._decoder = DecordDecoder(probe, decord.gpu(0) if on_gpu else decord.cpu(0), threads=threads)
        self._decoder.check_against(probe.table)

    @property
    def decoded(self) -> int:
        return self._decoder.decoded

    def read(self, gops: Sequence[GopTargets], process_frame: Callable[[VideoFrame], T]) -> Iterator[tuple[Target, T]]:
        """Gives RGB frames, rotated by the display matrix. Raises ReaderFailedError."""
        runs = schedule_runs(self._probe.table, gops)
        if runs is None:
            raise ReaderFailedError("decord can't begin at the key frames")
        pool = GopPool(
            runs,
            [self._decoder],
            self._threads,
            process_frame,
            confirmation_pts=self._probe.table.confirmation_pts(),
            window=2 * self._threads,
        )
        with closing(pool.results()) as results:
            yield from results


class DecordDecoder:
    """A decord decoder as a pool uses it. threads: that it decodes with. Every frame is confirmed when it comes out."""

    latest_pts = MAX_PTS

    def __init__(self, probe: Probe, device: Any, *, threads: int) -> None:
        media = probe.media
        self._shape = (media.height, media.width, 3)
        self._batch_size = max(1, BATCH_BYTES // (media.height * media.width * 3))
        self.decoded = 0
        try:
            self._video: Any = decord.VideoReader(
                str(probe.source.path), ctx=device, num_threads=threads, fault_tol=FAULT_TOLERANCE
            )
        except _DECORD_ERRORS as error:
            raise ReaderFailedError("decord can't open the file") from error

    def close(self) -> None:
        self._video = None

    def check_against(self, table: FrameTable) -> None:
        """Compares count and times of the frames, as exactly as decord's 32-bit floats allow.

        Raises ReaderFailedError.
        """
        if len(self._video) != len(table):
            raise ReaderFailedError("decord counts another number of frames")
        try:
            decord_times = self._video.get_frame_timestamp(range(len(table)))[:, 0].astype(np.float64)
        except _DECORD_ERRORS as error:
            raise ReaderFailedError("decord gives no times") from error
        times = table.ticks * float(table.time_base)
        tolerance = float(table.time_base) / 2 + times * _SINGLE_PRECISION
        if not np.all(np.abs(decord_times - times) <= tolerance):
            raise ReaderFailedError("decord gives the frames other times")

    def read(self, run: PacketRun) -> Iterator[VideoFrame]:
        for start in range(0, len(run.targets), self._batch_size):
            yield from self._read_batch(run.targets[start : start + self._batch_size])

    def _read_batch(self, targets: Sequence[Target]) -> Iterator[VideoFrame]:
        """Takes all frames at once and then seeks to the start of the file.

        decord decodes ahead without a limit until somebody takes the frames, and only a seek stops it.
        """
        try:
            frames = deque((target, self._video[target.index].asnumpy()) for target in targets)
            self._video.seek(0)
        except _DECORD_ERRORS as error:
            raise ReaderFailedError(f"decord can't decode frames {targets[0].index} to {targets[-1].index}") from error
        while frames:
            target, pixels = frames.popleft()
            if pixels.shape != self._shape:
                raise ReaderFailedError("decord gives pictures of another shape")
            self.decoded += 1
            frame = VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = target.pts
            yield frame

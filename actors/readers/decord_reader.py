"""The decord reader: used inside the envelope in which it was seen to be right, and not believed there either.

Outside the envelope it gives neighbors of the frame that was asked for, or hangs: MPEG-TS, edit lists, open GOPs. What
it gives is proved by `actors.readers.verify_frames`.
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
from actors.images.frame_format import HD_MIN_HEIGHT
from actors.plan.frame_selection import GopTargets, Target
from actors.plan.frame_table import MAX_PTS, FrameTable
from actors.plan.gop_schedule import PacketRun, schedule
from actors.readers.frame_reader import ReaderFailedError
from actors.readers.gop_pool import GopPool
from db.values.file_type import Container

CONTAINERS = {Container.MP4, Container.MATROSKA}
CODECS = {"h264", "hevc", "vp9", "av1"}
FAULTS_TOLERATED = 1
"""decord repeats a neighbor for each fault that it tolerates; 1 is the least that it can be told."""
MAX_PIXELS = 1920 * 1088
"""Above this its memory is not bounded well enough."""
_TAGGED = {1, 5, 6}
_UNTAGGED_SD = _TAGGED | {2}
"""decord takes every untagged picture for BT.601."""
BATCH_BYTES = 96 << 20
"""Decoded pictures that are held at a time."""
_SINGLE_PRECISION = 1e-6
_ERRORS = (DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError, IndexError, StopIteration)

T = TypeVar("T")


class DecordReader:
    """One decoder of decord with `threads` threads, and as many that make images. device: decord's, that decodes.

    One context and not one a thread: see docs/decisions/0007-one-context-of-decord.md.
    Raises ReaderFailedError when the file can't be opened or differs from the table.
    """

    upright = True

    def __init__(self, probe: Probe, *, threads: int = 1, device: Any = None) -> None:
        self._probe, self._threads = probe, threads
        self.repeated = 0
        self.missing: list[Target] = []
        self._lane = DecordLane(probe, decord.cpu(0) if device is None else device, threads=threads)
        self._lane.compare(probe.table)

    @property
    def decoded(self) -> int:
        return self._lane.decoded

    def read(self, gops: Sequence[GopTargets], finish: Callable[[VideoFrame], T]) -> Iterator[tuple[Target, T]]:
        """Reads RGB frames, turned by the display matrix; raises ReaderFailedError."""
        runs = schedule(self._probe.table, gops)
        if runs is None:
            raise ReaderFailedError("decord can't begin at the key frames")
        settled = self._probe.table.settled_at()
        crew = GopPool(runs, [self._lane], self._threads, finish, settled=settled, window=2 * self._threads)
        with closing(crew.results()) as results:
            yield from results


class DecordLane:
    """The decoder of decord. threads: it decodes with. Every frame counts as certain when it is there."""

    now = MAX_PTS

    def __init__(self, probe: Probe, device: Any, *, threads: int) -> None:
        media = probe.media
        self._shape = (media.height, media.width, 3)
        self._batch = max(1, BATCH_BYTES // (media.height * media.width * 3))
        self.decoded = 0
        try:
            self._video: Any = decord.VideoReader(
                str(probe.source.path), ctx=device, num_threads=threads, fault_tol=FAULTS_TOLERATED
            )
        except _ERRORS as error:
            raise ReaderFailedError("decord can't open the file") from error

    def close(self) -> None:
        self._video = None

    def compare(self, table: FrameTable) -> None:
        """Times are compared as well as the 32-bit floats that decord gives allow; raises ReaderFailedError."""
        if len(self._video) != len(table):
            raise ReaderFailedError("decord counts another number of frames")
        try:
            given = self._video.get_frame_timestamp(range(len(table)))[:, 0].astype(np.float64)
        except _ERRORS as error:
            raise ReaderFailedError("decord gives no times") from error
        times = table.ticks * float(table.time_base)
        tolerance = float(table.time_base) / 2 + times * _SINGLE_PRECISION
        if not np.all(np.abs(given - times) <= tolerance):
            raise ReaderFailedError("decord gives the frames other times")

    def read(self, run: PacketRun) -> Iterator[VideoFrame]:
        for at in range(0, len(run.targets), self._batch):
            yield from self._together(run.targets[at : at + self._batch])

    def _together(self, targets: Sequence[Target]) -> Iterator[VideoFrame]:
        """Takes the frames as fast as they come and then rewinds: decord decodes on, without limit, while nobody
        takes them, and only a seek makes it stop."""
        try:
            frames = deque((target, self._video[target.index].asnumpy()) for target in targets)
            self._video.seek(0)
        except _ERRORS as error:
            raise ReaderFailedError(f"decord can't decode frames {targets[0].index} to {targets[-1].index}") from error
        while frames:
            target, pixels = frames.popleft()
            if pixels.shape != self._shape:
                raise ReaderFailedError("decord gives pictures of another shape")
            self.decoded += 1
            frame = VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = target.pts
            yield frame


def graphics_device() -> Any:
    """The first GPU that this build of decord can decode on; None when there is none."""
    device = decord.gpu(0)
    return device if device.exist else None


def outside_envelope(probe: Probe) -> str | None:
    """Why decord is not to be used for this file; None when it may."""
    media = probe.media
    reasons = {
        f"the container {probe.source.container}": probe.source.container not in CONTAINERS,
        f"the codec {media.codec}": media.codec not in CODECS,
        "an edit list": probe.has_hidden_packets,
        "times that are not in the container": probe.table.by_ordinal,
        "colors that decord takes for others": probe.color_matrix
        not in (_UNTAGGED_SD if probe.coded_height < HD_MIN_HEIGHT else _TAGGED),
        "pictures larger than full HD": media.width * media.height > MAX_PIXELS,
        "damage": bool(probe.warnings),
        "pictures of two fields": probe.is_interlaced,
        "pixels that are not square": probe.geometry.pixel_aspect != 1,
        "a mirrored picture": probe.geometry.mirrored,
        "open groups of pictures": not _is_closed(probe.table),
    }
    return next((reason for reason, outside in reasons.items() if outside), None)


def _is_closed(table: FrameTable) -> bool:
    """Whether every picture is shown after the key frame that it is coded after."""
    by_order = np.argsort(table.order, kind="stable")
    pts, keys = table.pts[by_order], table.keys[by_order]
    latest_key = np.maximum.accumulate(np.where(keys, pts, table.pts[0]))
    return bool(table.keys[0] and keys[0] and np.all(pts >= latest_key))

"""The decord reader: used only for files of kinds that decord was seen to read correctly, and verified even there.

For other kinds (MPEG-TS, edit lists, open GOPs) decord gives neighbors of the requested frame, or hangs.
`actors.readers.decord_verification` compares a sample of its frames with PyAV's.
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
from actors.plan.gop_schedule import PacketRun, schedule_runs
from actors.readers.frame_reader import ReaderFailedError
from actors.readers.gop_pool import GopPool
from db.values.file_type import Container

SUPPORTED_CONTAINERS = {Container.MP4, Container.MATROSKA}
SUPPORTED_CODECS = {"h264", "hevc", "vp9", "av1"}
FAULT_TOLERANCE = 1
"""decord repeats a neighbor for each fault that it tolerates. 1 is the smallest value that it takes."""
MAX_PIXELS = 1920 * 1088
"""For larger pictures its memory is not bounded well enough."""
_TAGGED_MATRICES = {1, 5, 6}
_SD_MATRICES = _TAGGED_MATRICES | {2}
"""decord treats every untagged picture as BT.601."""
BATCH_BYTES = 96 << 20
"""Of decoded pictures in memory."""
_SINGLE_PRECISION = 1e-6
_DECORD_ERRORS = (DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError, IndexError, StopIteration)

T = TypeVar("T")


class DecordReader:
    """One decord decoder with `threads` threads, and as many threads that process frames. device: that decodes.

    It has a single context: docs/decisions/0007-one-context-of-decord.md.
    Raises ReaderFailedError when decord can't open the file or disagrees with the frame table.
    """

    autorotates = True

    def __init__(self, probe: Probe, *, threads: int = 1, device: Any = None) -> None:
        self._probe, self._threads = probe, threads
        self.repeated = 0
        self.missing: list[Target] = []
        self._decoder = DecordDecoder(probe, decord.cpu(0) if device is None else device, threads=threads)
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


def gpu_device() -> Any:
    """The first GPU that this build of decord can decode on; None when there is none."""
    device = decord.gpu(0)
    return device if device.exist else None


def unsupported_feature(probe: Probe) -> str | None:
    """A property of the file that decord is known to read wrongly; None when there is none."""
    media = probe.media
    matrices = _SD_MATRICES if probe.coded_height < HD_MIN_HEIGHT else _TAGGED_MATRICES
    features = {
        f"the container {probe.source.container}": probe.source.container not in SUPPORTED_CONTAINERS,
        f"the codec {media.codec}": media.codec not in SUPPORTED_CODECS,
        "an edit list": probe.has_hidden_packets,
        "times that are not in the container": probe.table.match_by_index,
        "colors that decord converts wrongly": probe.color_matrix not in matrices,
        "pictures larger than full HD": media.width * media.height > MAX_PIXELS,
        "damage": bool(probe.warnings),
        "interlaced pictures": probe.is_interlaced,
        "pixels that are not square": probe.geometry.pixel_aspect != 1,
        "a mirrored picture": probe.geometry.mirrored,
        "open GOPs": not _has_only_closed_gops(probe.table),
    }
    return next((feature for feature, is_present in features.items() if is_present), None)


def _has_only_closed_gops(table: FrameTable) -> bool:
    """Whether no picture is a leading picture: shown before the key frame that it is coded after."""
    in_decode_order = np.argsort(table.decode_order, kind="stable")
    pts, keys = table.pts[in_decode_order], table.is_key[in_decode_order]
    latest_key_pts = np.maximum.accumulate(np.where(keys, pts, table.pts[0]))
    return bool(table.is_key[0] and keys[0] and np.all(pts >= latest_key_pts))

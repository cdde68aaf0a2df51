"""The planned reader: the same samples as a sequential decode for any thread count, without extra work."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from actors.container.probe import Probe, probe
from actors.plan.frame_selection import GopTargets, Target, group_by_gop
from actors.plan.frame_table import FrameTable
from actors.plan.gop_schedule import schedule_runs
from actors.readers.frame_reader import MAX_REORDERED
from actors.readers.gop_decoder import GopDecoder
from actors.readers.gop_pool import GopPool
from actors.readers.planned_reader import PlannedReader, has_exact_random_access
from actors.readers.sequential_reader import SequentialReader
from tests.support.own_process import command_of
from tests.support.programs import read_frames_slowly
from tests.support.videos.clips import CLIPS, ClipByName, ClipSpec, make_clip

CHOICES: dict[str, Callable[[FrameTable], list[int]]] = {
    "all": lambda table: list(range(len(table))),
    "every seventh": lambda table: list(range(0, len(table), 7)),
    "the last": lambda table: [len(table) - 1],
    "some from the middle": lambda table: sorted({len(table) // 2, len(table) * 3 // 4}),
    "key frames": lambda table: np.flatnonzero(table.is_key).tolist() or [0],
}
PROVEN = {"h264", "hevc", "vp8", "vp9", "av1"}
DIFFICULT_CLIPS = {
    "open groups of pictures, pyramids": ClipSpec(
        open_gop=True, b_frames=5, frames=90, gop=15, options=(("preset", "medium"),)
    ),
    "open groups in a transport stream": ClipSpec(
        suffix=".ts", open_gop=True, b_frames=3, frames=90, gop=15, options=(("preset", "medium"),)
    ),
    "intra refresh": ClipSpec(
        frames=90, options=(("preset", "medium"), ("x264-params", "intra-refresh=1:keyint=20:bframes=2"))
    ),
    "hevc in a transport stream": ClipSpec(codec="libx265", suffix=".ts", frames=48, b_frames=3, open_gop=True),
    "hidden VP9 frames": ClipSpec(codec="libvpx-vp9", suffix=".mkv", frames=60, gop=25),
}
"""What CLIPS does not have: pictures after a key frame that refer to pictures before it, and B-frames as references."""


def digest(frame: VideoFrame) -> str:
    """The digest of the samples as decoded, without the padding of the lines."""
    sha256 = hashlib.sha256(f"{frame.format.name} {frame.width} {frame.height}".encode())
    for plane, component in zip(frame.planes, frame.format.components, strict=False):
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        sha256.update(lines[: plane.height, : plane.width * -(-component.bits // 8)].tobytes())
    return sha256.hexdigest()


def append_pts(results: Iterable[tuple[Target, object]], into: list[int]) -> None:
    for target, _ in results:
        into.append(target.pts)


def read_sequentially(probed: Probe, planned: tuple[GopTargets, ...]) -> list[tuple[Target, str]]:
    return list(SequentialReader(probed, full_pass_only=True).read(planned, digest))


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", CLIPS)
def test_planned_samples_equal_a_sequential_decode(name: str, choice: str, clips: ClipByName) -> None:
    probed = probe(clips(name)[0])
    planned = group_by_gop(probed.table, CHOICES[choice](probed.table))
    expected = read_sequentially(probed, planned)
    for threads in (1, 2, 3):
        reader = PlannedReader(probed, threads=threads)
        assert list(reader.read(planned, digest)) == expected
        assert (reader.missing, reader.repeated) == ([], 0)


@pytest.mark.parametrize("name", DIFFICULT_CLIPS)
def test_streams_with_difficult_entry_points_equal_a_sequential_decode(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip{DIFFICULT_CLIPS[name].suffix}"
    make_clip(path, DIFFICULT_CLIPS[name])
    probed = probe(path)
    assert has_exact_random_access(probed)
    for choice in CHOICES.values():
        planned = group_by_gop(probed.table, choice(probed.table))
        expected = read_sequentially(probed, planned)
        for threads in (1, 3):
            assert list(PlannedReader(probed, threads=threads).read(planned, digest)) == expected


@pytest.mark.parametrize("name", ["h264_b_frames", "hevc", "mkv", "vp9_webm", "av1_mp4", "mpegts"])
def test_key_frame_targets_decode_key_frames_only(name: str, clips: ClipByName) -> None:
    probed = probe(clips(name)[0])
    keys = np.flatnonzero(probed.table.is_key).tolist()
    reader = PlannedReader(probed, threads=2)
    assert len(list(reader.read(group_by_gop(probed.table, keys), digest))) == len(keys)
    assert reader.decoded == len(keys)


def test_unreferenced_frames_are_not_decoded(clips: ClipByName) -> None:
    probed = probe(clips("h264_one_gop")[0])
    reader = PlannedReader(probed)
    last = len(probed.table) - 1
    list(reader.read(group_by_gop(probed.table, [last]), digest))
    assert reader.decoded < len(probed.table) * 0.7


def test_only_proven_formats_have_exact_random_access(clips: ClipByName) -> None:
    proven = {name for name in CLIPS if has_exact_random_access(probe(clips(name)[0]))}
    assert {"h264", "mov", "mkv", "mpegts", "hevc", "vp8_webm", "vp9_webm", "av1_mp4"} <= proven
    assert proven.isdisjoint({"mpeg4_avi", "h264_avi", "mpeg_ps", "mpegts_mpeg2", "flv", "wmv", "mjpeg_avi"})
    assert all(probe(clips(name)[0]).media.codec in PROVEN for name in proven)


@pytest.mark.parametrize("position", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("name", ["h264_b_frames", "hevc", "mkv", "mpegts", "vp9_webm", "av1_mp4"])
def test_damaged_file_gives_the_same_frames_as_the_sequential_reader(
    name: str, position: float, clips: ClipByName, tmp_path: Path
) -> None:
    path, _ = clips(name)
    data = bytearray(path.read_bytes())
    start = int(len(data) * position)
    data[start : start + 300] = bytes(300)
    damaged = tmp_path / path.name
    damaged.write_bytes(data)
    probed = probe(damaged)
    for choice in CHOICES.values():
        planned = group_by_gop(probed.table, choice(probed.table))
        full_pass = SequentialReader(probed, full_pass_only=True)
        expected = list(full_pass.read(planned, digest))
        for threads in (1, 2, 3):
            reader = PlannedReader(probed, threads=threads)
            assert list(reader.read(planned, digest)) == expected
            assert reader.missing == full_pass.missing


def test_extra_frame_of_the_frame_table_is_the_only_missing_one(clips: ClipByName) -> None:
    probed = probe(clips("h264")[0])
    table = probed.table
    wrong = replace(table, pts=np.where(np.arange(len(table)) == 30, table.pts + 1, table.pts))
    reader = PlannedReader(replace(probed, table=wrong), threads=2)
    results = list(reader.read(group_by_gop(wrong, range(len(wrong))), digest))
    assert [target.index for target in reader.missing] == [30]
    assert len(results) == len(table) - 1


def test_error_of_the_image_encoder_is_raised_at_the_consumer(clips: ClipByName) -> None:
    probed = probe(clips("h264")[0])
    planned = group_by_gop(probed.table, range(len(probed.table)))
    failing_pts = planned[2].targets[3].pts

    def finish(frame: VideoFrame) -> int | None:
        if frame.pts == failing_pts:
            raise ZeroDivisionError
        return frame.pts

    before = set(threading.enumerate())
    pts: list[int] = []
    with pytest.raises(ZeroDivisionError):
        append_pts(PlannedReader(probed, threads=3).read(planned, finish), pts)
    assert pts == [target.pts for gop in planned for target in gop.targets if target.pts < failing_pts]
    assert set(threading.enumerate()) <= before


def test_closing_the_reader_early_ends_its_threads(clips: ClipByName) -> None:
    probed = probe(clips("h264_b_frames")[0])
    before = set(threading.enumerate())
    results = iter(PlannedReader(probed, threads=3).read(group_by_gop(probed.table, range(60)), digest))
    next(results)
    assert set(threading.enumerate()) - before
    del results
    assert set(threading.enumerate()) <= before


def test_reader_waits_for_a_slow_consumer(clips: ClipByName) -> None:
    """Counts how many frames the threads finish ahead of the consumer before they wait."""
    probed = probe(clips("h264_long")[0])
    window, finished = 20, threading.Semaphore(0)
    planned = group_by_gop(probed.table, range(len(probed.table)))
    decoders = [GopDecoder(probed, 1) for _ in range(2)]
    runs = schedule_runs(probed.table, planned)
    assert runs is not None
    pool = GopPool(
        runs,
        decoders,
        2,
        lambda frame: finished.release(),
        confirmation_pts=probed.table.confirmation_pts(),
        window=window,
    )
    results = pool.results()
    next(results)
    # So many come, however long they take.
    assert all(finished.acquire(timeout=60) for _ in range(window))
    ahead = window
    while finished.acquire(timeout=1):
        ahead += 1
    results.close()
    assert ahead <= 2 * window + MAX_REORDERED


@pytest.mark.parametrize("threads", [1, 2])
def test_slow_consumer_of_4k_bounds_the_memory(threads: int, clips: ClipByName) -> None:
    command = command_of(read_frames_slowly, clips("h264_4k")[0], threads)
    kibibytes = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert kibibytes / 1024 < 350

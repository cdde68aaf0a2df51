"""Every reader gives the correct frames of a plan in order, or reports them as missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from actors.container.display_geometry import DisplayGeometry
from actors.container.probe import Probe, probe
from actors.images.frame_renderer import FrameRenderer
from actors.plan.frame_selection import GopTargets, Target, group_by_gop
from actors.readers.decord_envelope import unsupported_feature
from actors.readers.decord_reader import DecordReader
from actors.readers.decord_verification import FrameMismatchError, read_verified, sample_indexes
from actors.readers.frame_reader import FrameReader
from actors.readers.planned_reader import PlannedReader
from actors.readers.sequential_reader import SequentialReader
from tests.support.videos.clips import CLIPS, ClipByName, read_number, truncated_copy

T = TypeVar("T")
MakeReader = Callable[[Probe], FrameReader]

READERS: dict[str, MakeReader] = {
    "sequential": SequentialReader,
    "sequential with two threads": lambda probe: SequentialReader(probe, threads=2),
    "sequential, full pass only": lambda probe: SequentialReader(probe, full_pass_only=True),
    "planned": PlannedReader,
    "planned with two threads": lambda probe: PlannedReader(probe, threads=2),
    "planned with three threads": lambda probe: PlannedReader(probe, threads=3),
    "decord": DecordReader,
    "decord with two threads": lambda probe: DecordReader(probe, threads=2),
}
CHOICES: dict[str, Callable[[int], list[int]]] = {
    "all": lambda frames: list(range(frames)),
    "every seventh": lambda frames: list(range(0, frames, 7)),
    "the last": lambda frames: [frames - 1],
    "some from the middle": lambda frames: sorted({frames // 2, min(frames // 2 + 1, frames - 1), frames * 3 // 4}),
}
DECORD_FAILS = {"hevc"}
"""Clips without an unsupported feature that the library refuses when it opens or reads the file."""


# Half of the time of a short clip goes into its probe.
probe_once = cache(probe)


def upright_rgb(probed: Probe, reader: FrameReader, frame: VideoFrame) -> NDArray[np.uint8]:
    picture = FrameRenderer(DisplayGeometry() if reader.autorotates else probed.geometry).render_planes(frame)
    return np.repeat(picture.y[:, :, np.newaxis], 3, axis=2)


def pts_of(frame: VideoFrame) -> int | None:
    return frame.pts


def numbers(probed: Probe, reader: FrameReader, planned: Sequence[GopTargets]) -> list[tuple[Target, int | None]]:
    return list(reader.read(planned, lambda frame: read_number(upright_rgb(probed, reader, frame))))


@pytest.fixture(params=READERS)
def reader_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", CLIPS)
def test_reader_gives_the_planned_frames_in_order(name: str, choice: str, reader_name: str, clips: ClipByName) -> None:
    path, truth = clips(name)
    probed = probe_once(path)
    if "decord" in reader_name and (unsupported_feature(probed) or name in DECORD_FAILS):
        pytest.skip("decord does not support this video")
    planned = group_by_gop(probed.table, CHOICES[choice](len(probed.table)))
    reader = READERS[reader_name](probed)
    results = numbers(probed, reader, planned)
    assert [target for target, _ in results] == [target for gop in planned for target in gop.targets]
    assert [number for _, number in results] == [truth.numbers[target.index] for target, _ in results]
    assert reader.missing == []


def test_reader_decodes_no_frames_ahead_of_its_consumer(clips: ClipByName) -> None:
    probed = probe(clips("h264_one_gop")[0])
    reader = SequentialReader(probed)
    planned = group_by_gop(probed.table, range(len(probed.table)))
    assert len(list(islice(reader.read(planned, pts_of), 3))) == 3
    assert reader.decoded < 10


def test_pyav_starts_at_the_first_needed_key_frame(clips: ClipByName) -> None:
    probed = probe(clips("h264_b_frames")[0])
    reader = SequentialReader(probed)
    assert len(list(reader.read(group_by_gop(probed.table, [49]), pts_of))) == 1
    assert reader.decoded <= 12


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["h264_b_frames", "mkv", "mpegts", "mpegts_mpeg2", "mpeg4_avi", "flv"])
def test_damaged_frame_and_its_dependents_are_skipped(
    name: str, threads: int, clips: ClipByName, tmp_path: Path
) -> None:
    path, truth = clips(name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    damaged = tmp_path / path.name
    damaged.write_bytes(data)
    probed = probe(damaged)
    true_numbers = {time: shown.number for time, shown in zip(truth.times, truth.shown, strict=True)}
    reader = SequentialReader(probed, threads=threads)
    results = numbers(probed, reader, group_by_gop(probed.table, range(len(probed.table))))
    assert 0 < len(results) < len(truth.shown)
    assert [number for _, number in results] == [
        true_numbers[probed.table.time_of(target.index)] for target, _ in results
    ]
    assert reader.missing or probed.warnings


def test_truncated_file_gives_its_frames_and_reports_missing_ones(clips: ClipByName) -> None:
    path, truth = clips("h264_b_frames")
    probed = probe(truncated_copy(path))
    reader = SequentialReader(probed)
    results = numbers(probed, reader, group_by_gop(probed.table, range(len(probed.table))))
    assert [number for _, number in results] == truth.numbers[: len(results)]
    assert [warning.code for warning in probed.warnings] == ["truncated"]
    assert len(results) + len(reader.missing) == len(probed.table) < len(truth.shown)


@pytest.mark.parametrize(
    "name",
    ["h264_edit_list", "h264_open_gop", "h264_anamorphic", "mpegts", "mpeg_ps", "wmv", "h264_avi", "flv", "vp8_webm"],
)
def test_decord_declares_unsupported_videos(name: str, clips: ClipByName) -> None:
    assert unsupported_feature(probe(clips(name)[0]))


@pytest.mark.parametrize("name", ["h264", "h264_b_frames", "h264_vfr", "h264_rotated_90", "vp9_webm", "av1_mp4", "mkv"])
def test_decord_supports_the_verified_videos(name: str, clips: ClipByName) -> None:
    assert unsupported_feature(probe(clips(name)[0])) is None


class WrongLastFrameReader(DecordReader):
    """Gives the last frame's neighbor in its place, as decord does with some videos that it does not support."""

    def read(self, gops: Sequence[GopTargets], finish: Callable[[VideoFrame], T]) -> Iterator[tuple[Target, T]]:
        frames = list(super().read(gops, lambda frame: frame))
        last, before = frames[-1][0], frames[-2][1]
        before.pts = last.pts
        for target, frame in [*frames[:-1], (last, before)]:
            yield target, finish(frame)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["h264", "h264_b_frames", "h264_rotated_90", "h264_10_bit", "vp9_webm"])
def test_correct_frames_pass_verification(name: str, threads: int, clips: ClipByName) -> None:
    probed = probe(clips(name)[0])
    planned = group_by_gop(probed.table, range(len(probed.table)))
    reader = DecordReader(probed, threads=threads)
    results = list(read_verified(reader, probed, planned, pts_of, threads=threads))
    assert results == [(target, target.pts) for gop in planned for target in gop.targets]
    assert reader.decoded == len(probed.table)


def test_neighboring_frame_fails_verification(clips: ClipByName) -> None:
    probed = probe(clips("h264")[0])
    planned = group_by_gop(probed.table, range(len(probed.table)))
    with pytest.raises(FrameMismatchError, match="another picture"):
        list(read_verified(WrongLastFrameReader(probed), probed, planned, pts_of, threads=1))


def test_verification_sample_has_first_last_and_every_tenth() -> None:
    targets = [Target(3 * i, i, False) for i in range(100)]
    selected = sample_indexes(targets)
    assert {0, 297} <= selected
    assert len(selected) == 10
    assert [len(sample_indexes(targets[:n])) for n in (1, 2, 3, 30, 31)] == [1, 2, 3, 3, 4]

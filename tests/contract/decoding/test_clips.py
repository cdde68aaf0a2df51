"""The test clips themselves: a plain sequential decode gives exactly the content that their truth records."""

from __future__ import annotations

import io
import os
import struct
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.stream import VideoStream
from PIL import Image

from tests.support.videos.clips import (
    BIG_CLIPS,
    CLIPS,
    ClipByName,
    ClipSpec,
    make_clip,
    picture,
    read_number,
    truncated_copy,
    write_audio_only,
    write_hls_playlist,
    write_text_file,
)
from tests.support.videos.frame_number_pattern import Rgb


def decode(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        return list(container.decode(stream))


def presentation_ticks(packet: Packet[VideoStream]) -> int:
    """Presentation time in ticks; AVI has only decoding times."""
    time = packet.dts if packet.pts is None else packet.pts
    assert time is not None
    return time


def upright(frame: av.VideoFrame, spec: ClipSpec) -> Rgb:
    """The frame as a player shows it; `frame.rotation` counts counterclockwise, as np.rot90 does."""
    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    wide = image.resize((round(spec.width * spec.sar), spec.height))
    return np.rot90(np.asarray(wide), frame.rotation // 90)


def jpeg(rgb: Rgb, max_side: int) -> Rgb:
    """Encodes a small JPEG of low quality with 4:2:0, and decodes it."""
    image = Image.fromarray(rgb)
    image.thumbnail((max_side, max_side))
    file = io.BytesIO()
    image.save(file, "jpeg", quality=60, subsampling=2)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("name", CLIPS)
def test_sequential_decode_matches_the_truth(clips: ClipByName, name: str) -> None:
    path, truth = clips(name)
    frames = decode(path)
    pts = [frame.pts for frame in frames if frame.pts is not None]
    pictures = [upright(frame, truth.spec) for frame in frames]
    assert [read_number(rgb) for rgb in pictures] == truth.numbers
    assert [(ticks - pts[0]) * truth.time_base for ticks in pts] == truth.times
    assert [frame.key_frame for frame in frames] == [shown.key for shown in truth.shown]
    assert {rgb.shape for rgb in pictures} == {(truth.height, truth.width, 3)}


@pytest.mark.parametrize("name", CLIPS)
def test_packet_table_matches_the_truth(clips: ClipByName, name: str) -> None:
    path, truth = clips(name)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
        # A stream belongs to its open container.
        time_base = stream.time_base
    table = sorted((presentation_ticks(packet), packet.is_keyframe, packet.duration or 0) for packet in packets)
    assert time_base == truth.time_base
    assert [key for _, key, _ in table] == [shown.key for shown in truth.shown]
    assert (table[-1][0] - table[0][0] + table[-1][2]) * truth.time_base == truth.duration


@pytest.mark.parametrize("name", ["h264", "h264_rotated_90", "hevc", "vp9_webm", "mpegts_mpeg2", "odd_size"])
def test_frame_number_is_readable_in_a_small_jpeg(clips: ClipByName, name: str) -> None:
    path, truth = clips(name)
    small = [jpeg(upright(frame, truth.spec), max_side=64) for frame in decode(path)]
    assert max(small[0].shape) == 64
    assert [read_number(rgb) for rgb in small] == truth.numbers


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotated_picture_gives_no_number(turns: int) -> None:
    assert all(read_number(np.rot90(picture(192, 112, number), turns)) is None for number in range(200))


def test_mirrored_or_blended_picture_gives_no_number() -> None:
    for number in range(200):
        this, following = picture(192, 112, number), picture(192, 112, number + 1)
        assert read_number(this[:, ::-1]) is None
        assert read_number(this[::-1]) is None
        assert read_number(((this.astype(np.uint16) + following) // 2).astype(np.uint8)) is None
        assert read_number(np.concatenate([this[:56], following[56:]])) is None


@pytest.mark.parametrize("number", [0, 1, 255, 256, 4_660, 65_535])
@pytest.mark.parametrize("size", [(192, 112), (112, 192), (64, 37), (37, 64), (16, 16)])
def test_every_frame_number_is_readable_at_every_size(number: int, size: tuple[int, int]) -> None:
    assert read_number(picture(*size, number)) == number


def test_picture_without_the_pattern_gives_no_number() -> None:
    random = np.random.default_rng(1)
    assert read_number(np.zeros((96, 160, 3), np.uint8)) is None
    assert read_number(np.full((96, 160, 3), 255, np.uint8)) is None
    assert all(
        read_number(random.choice(np.array([0, 255], np.uint8), (4, 8, 1)).repeat(3, 2)) is None for _ in range(200)
    )


@pytest.mark.parametrize("name", ["h264_edit_list", "h264_edit_list_b_frames", "h264_edit_list_both_ends"])
def test_edit_list_hides_frames_and_starts_within_a_gop(clips: ClipByName, name: str) -> None:
    path, truth = clips(name)
    spec = truth.spec
    with av.open(str(path)) as container:
        hidden = [packet for packet in container.demux(video=0) if packet.size and packet.is_discard]
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        coded = sum(1 for _ in container.decode(video=0))
    assert truth.numbers == list(range(spec.edit_list, spec.frames - spec.edit_end))
    assert not truth.shown[0].key
    assert hidden
    assert coded == spec.frames


@pytest.mark.parametrize("name", ["h264_rotated_90", "h264_rotated_180", "h264_rotated_270"])
def test_display_matrix_has_the_rotation(clips: ClipByName, name: str) -> None:
    path, truth = clips(name)
    unit = 0x10000  # 1 as a fixed-point number
    turn = {90: (0, unit, -unit, 0), 180: (-unit, 0, 0, -unit), 270: (0, -unit, unit, 0)}[truth.rotation]
    data = path.read_bytes()
    # ISO/IEC 14496-12, 8.3.2: the matrix (a, b, u, c, d, v, x, y, w) is 44 bytes after the type of a tkhd version 0.
    a, b, _, c, d = struct.unpack_from(">5i", data, data.index(b"tkhd") + 44)
    assert (a, b, c, d) == turn
    assert {-frame.rotation % 360 for frame in decode(path)} == {truth.rotation}


def test_open_gop_has_leading_frames_that_need_the_previous_gop(clips: ClipByName) -> None:
    for name in ("h264_open_gop", "hevc_open_gop"):
        assert count_leading_frames(clips(name)[0]) > 0
    assert count_leading_frames(clips("h264_b_frames")[0]) == 0


def count_leading_frames(path: Path) -> int:
    """How many frames are coded after a key frame and shown before it."""
    with av.open(str(path)) as container:
        count, key = 0, None
        for packet in container.demux(video=0):
            if packet.size and packet.pts is not None:
                key = packet.pts if packet.is_keyframe else key
                count += key is not None and packet.pts < key
    return count


def test_clips_have_b_frames_and_variable_frame_rates(clips: ClipByName) -> None:
    with av.open(str(clips("h264_b_frames")[0])) as container:
        pts = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    times = clips("h264_vfr")[1].times
    assert pts != sorted(pts)
    assert len({after - before for before, after in pairwise(times)}) > 3


@pytest.mark.parametrize("name", ["h264", "h264_full_range", "h264_bt709", "h264_bt709_full_range"])
def test_tagged_matrix_and_range_give_the_right_colors(clips: ClipByName, name: str) -> None:
    path, truth = clips(name)
    source = {"bt709": 1, "": 5}[truth.spec.matrix]
    frame = decode(path)[5]
    rgb = frame.reformat(format="rgb24", src_colorspace=source).to_ndarray().astype(int)
    error = np.abs(rgb - picture(truth.width, truth.height, 5)).mean(axis=(0, 1))
    assert frame.colorspace == {"bt709": 1, "": 2}[truth.spec.matrix]
    assert error.max() < 8


def test_same_clip_spec_gives_the_same_bytes(tmp_path: Path) -> None:
    spec = replace(CLIPS["h264_b_frames"], frames=20)
    for name in ("one.mp4", "other.mp4"):
        make_clip(tmp_path / name, spec)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "other.mp4").read_bytes()


def test_audio_only_file_has_no_video_stream(tmp_path: Path) -> None:
    write_audio_only(tmp_path / "sound.mp4")
    with av.open(str(tmp_path / "sound.mp4")) as container:
        assert not container.streams.video
        assert container.duration == pytest.approx(1_000_000, rel=0.05)


def test_truncated_clip_without_index_cannot_be_opened(clips: ClipByName) -> None:
    short = truncated_copy(clips("h264")[0], keep=0.5)
    with pytest.raises(av.InvalidDataError):
        av.open(str(short))


def test_truncated_clip_with_index_in_front_gives_its_first_frames(clips: ClipByName) -> None:
    path, truth = clips("h264_b_frames")
    with av.open(str(truncated_copy(path, keep=0.6))) as container:
        packets = sum(1 for packet in container.demux(video=0) if packet.size)
    assert 0 < packets < len(truth.shown)


def test_text_files_and_playlists_are_recognizable(tmp_path: Path) -> None:
    write_text_file(tmp_path / "a.mp4")
    write_hls_playlist(tmp_path / "b.mp4", target="other.ts")
    assert (tmp_path / "a.mp4").read_text().startswith("This")
    assert "other.ts" in (tmp_path / "b.mp4").read_text()
    assert (tmp_path / "b.mp4").read_text().startswith("#EXTM3U")


def test_big_clips_are_4k() -> None:
    sizes = {(spec.width, spec.height) for name, spec in BIG_CLIPS.items() if name.endswith("_4k")}
    assert sizes == {(3840, 2160)}
    assert Fraction(BIG_CLIPS["h264_4k"].frames) / BIG_CLIPS["h264_4k"].fps == 2


def test_encoding_leaves_the_scheduling_of_the_process_alone(tmp_path: Path) -> None:
    """SVT-AV1 gives root's processes real-time priority, which all their children would inherit."""
    make_clip(tmp_path / "clip.mp4", CLIPS["av1_mp4"])
    assert os.sched_getscheduler(0) == os.SCHED_OTHER

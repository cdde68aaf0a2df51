"""The probe on unusual files."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from actors.container.container_integrity import has_consistent_structure
from actors.container.matroska_cluster_checks import ClusterIndex
from actors.container.probe import probe
from actors.engine.extract import extract
from db.values.file_type import Container
from db.values.frame_spec import parse
from tests.support.videos.clips import CLIPS, ClipByName, ClipSpec, make_clip
from tests.support.videos.remux import add_cover, join_video_streams, multiply_claimed_duration

SMALL = ClipSpec(width=96, height=64, frames=24, fps=Fraction(25), gop=8)


def write_clip(path: Path, **changes: Any) -> Path:
    make_clip(path, replace(SMALL, suffix=path.suffix, **changes))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_cover_picture_is_never_the_video_stream(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"covered{suffix}"
    add_cover(write_clip(tmp_path / f"plain{suffix}"), path)
    assert (probe(path).media.width, probe(path).media.frames) == (96, 24)


@pytest.mark.parametrize(("default", "width"), [(None, 96), (0, 64), (1, 96)])
def test_default_stream_is_read_else_the_largest(default: int | None, width: int, tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    small = write_clip(tmp_path / "small.mkv", width=64, height=48)
    join_video_streams(write_clip(tmp_path / "plain.mkv"), small, path, default=default)
    assert probe(path).media.width == width


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".flv"])
def test_wrong_container_duration_is_ignored(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"wrong{suffix}"
    multiply_claimed_duration(write_clip(tmp_path / f"plain{suffix}"), path)
    assert probe(path).media.duration == pytest.approx(24 / 25, abs=0.002)
    assert probe(path).warnings == ()


def test_negative_matroska_times_are_read_from_the_blocks(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "early.mkv", start_offset=Fraction(-1, 5), muxer=(("avoid_negative_ts", "disabled"),))
    with av.open(str(path)) as container:
        packets_without_times = [
            packet.pts for packet in container.demux(video=0) if packet.size and packet.pts is None
        ]
    assert packets_without_times
    assert probe(path).table.pts.tolist() == list(range(-200, 760, 40))


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [("libx264", ".mp4", "+ildct+ilme"), ("mpeg2video", ".ts", "+ildct+ilme"), ("libx264", ".ts", "+ildct+ilme")],
)
def test_field_coded_pictures_are_reported_as_interlaced(codec: str, suffix: str, options: str, tmp_path: Path) -> None:
    fields = write_clip(tmp_path / f"fields{suffix}", codec=codec, options=(("flags", options),))
    progressive = write_clip(tmp_path / f"progressive{suffix}", codec=codec)
    assert probe(fields).is_interlaced
    assert not probe(progressive).is_interlaced


def test_changing_frame_size_gives_images_of_both_sizes(tmp_path: Path) -> None:
    """Two VP9 streams one after the other, as a conference records them."""
    path = tmp_path / "changing.webm"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libvpx-vp9", rate=25, options={"cpu-used": "8", "lag-in-frames": "0"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(20):
            size = (64, 96) if number < 10 else (48, 64)
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), 10 * number, np.uint8), format="rgb24")
            frame.pts = number
            if number == 10:
                out.mux(stream.encode(None))
                second = av.CodecContext.create("libvpx-vp9", "w")
                second.width, second.height, second.pix_fmt = 64, 48, "yuv420p"
                second.time_base, second.framerate = Fraction(1, 25), Fraction(25)
                second.options = {"cpu-used": "8", "lag-in-frames": "0"}
            packets = stream.encode(frame.reformat(format="yuv420p")) if number < 10 else []
            if number >= 10:
                packets = second.encode(frame.reformat(format="yuv420p"))
            for packet in packets:
                packet.stream = stream
                out.mux(packet)
        for packet in second.encode(None):
            packet.stream = stream
            out.mux(packet)
    result = extract(path, parse('{"sample": {"mode": "all"}}'), tmp_path)
    manifest = (tmp_path / "manifest.csv").read_text().splitlines()
    sizes = [tuple(map(int, row.split(",")[6:8])) for row in manifest[1:]]
    assert result.warnings == ()
    assert sizes == [(96, 64)] * 10 + [(64, 48)] * 10


def test_transport_stream_starting_between_key_frames_warns_of_skipped_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "late.ts", frames=40, gop=10)
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 188 // 6 * 188 :])
    probed = probe(path)
    assert 0 < len(probed.table) < 40
    assert probed.table.is_key[0]
    assert "late_start" in [warning.code for warning in probed.warnings]


@pytest.mark.parametrize("name", CLIPS)
def test_intact_file_has_no_damage(name: str, clips: ClipByName) -> None:
    path, _ = clips(name)
    assert all(has_consistent_structure(path, container) for container in [Container(probe(path).media.container)])
    assert not [warning.code for warning in probe(path).warnings]


def test_matroska_cluster_with_a_wrong_checksum_is_located(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "summed.mkv", frames=60, muxer=(("cluster_time_limit", "400"),))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    clusters = ClusterIndex(path)
    probed = probe(path)
    assert clusters.crc_mismatches == 1
    assert clusters.has_crc_mismatch_at(len(data) // 2)
    assert 0 < len(probed.corrupt_packets) < 60
    assert [warning.code for warning in probed.warnings] == ["damaged"]
    result = extract(path, parse('{"sample": {"mode": "all"}}'), tmp_path)
    assert result.frames == 60 - len(probed.corrupt_packets)
    assert "frames_missing" in [warning.code for warning in result.warnings]


@pytest.mark.parametrize("suffix", [".m2ts", ".wmv", ".flv", ".mpg"])
def test_rare_containers_are_read(suffix: str, tmp_path: Path) -> None:
    codec = {".wmv": "wmv2", ".mpg": "mpeg2video"}.get(suffix, "libx264")
    probed = probe(write_clip(tmp_path / f"clip{suffix}", codec=codec))
    assert probed.media.frames == 24
    assert probed.media.duration == pytest.approx(24 / 25, abs=0.002)
    assert probed.warnings == ()

"""Remuxed clips: several video streams, cover pictures, and containers with a wrong duration."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream
from PIL import Image

_FORMATS = {".mkv": "matroska", ".ts": "mpegts", ".m2ts": "mpegts", ".mpg": "mpeg", ".wmv": "asf"}
CLAIMED_LENGTH_FACTOR = 10
"""The factor between the duration that the container states and the real one."""


def add_cover(source: Path, target: Path) -> None:
    """Adds a still picture that is marked as a cover and is larger than the video."""
    with av.open(str(source)) as clip, _writer(target) as out:
        video = out.add_stream_from_template(clip.streams.video[0])
        if target.suffix == ".mkv":
            picture = io.BytesIO()
            Image.new("RGB", (320, 320), "gray").save(picture, "jpeg")
            out.add_attachment("cover.jpg", "image/jpeg", picture.getvalue())
            _copy(clip, video, out)
            return
        cover = out.add_stream("mjpeg", rate=1)
        assert isinstance(cover, VideoStream)
        cover.width = cover.height = 320
        cover.pix_fmt = "yuvj420p"
        cover.disposition = Disposition.attached_pic
        still = av.VideoFrame.from_ndarray(np.full((320, 320, 3), 90, np.uint8), format="rgb24")
        still.pts = 0
        out.mux(cover.encode(still) + cover.encode(None))
        _copy(clip, video, out)


def join_video_streams(video: Path, other: Path, target: Path, *, default: int | None = None) -> None:
    """Writes two video streams into one file, `other` first. default: the index of the stream that is marked so."""
    with av.open(str(other)) as first, av.open(str(video)) as second, _writer(target) as out:
        streams = [out.add_stream_from_template(clip.streams.video[0]) for clip in (first, second)]
        for index, stream in enumerate(streams):
            stream.disposition = Disposition.default if index == default else Disposition(0)
        packets = [
            (float(packet.dts * packet.time_base), stream, packet)
            for clip, stream in zip((first, second), streams, strict=True)
            for packet in clip.demux(video=0)
            if packet.dts is not None
        ]
        for _, stream, packet in sorted(packets, key=lambda item: item[0]):
            packet.stream = stream
            out.mux(packet)


def _writer(target: Path) -> OutputContainer:
    return av.open(str(target), "w", format=_FORMATS.get(target.suffix, target.suffix[1:]))


def _copy(clip: InputContainer, stream: VideoStream, out: OutputContainer) -> None:
    packets: list[Packet[VideoStream]] = [packet for packet in clip.demux(video=0) if packet.dts is not None]
    for packet in packets:
        packet.stream = stream
        out.mux(packet)


def multiply_claimed_duration(source: Path, target: Path) -> None:
    """Multiplies every duration in the container by CLAIMED_LENGTH_FACTOR."""
    data = bytearray(source.read_bytes())
    _MULTIPLY_DURATION[source.suffix](data)
    target.write_bytes(data)


def _multiply_in_mp4(data: bytearray) -> None:
    """ISO/IEC 14496-12, 8.2.2, 8.3.2 and 8.4.2, version 0: the durations in mvhd, tkhd and mdhd."""
    for name, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        _multiply_number(data, data.index(name) + offset, ">I")


def _multiply_in_matroska(data: bytearray) -> None:
    """RFC 9559, 5.1.2.10: Duration, a float of eight bytes. FFmpeg ignores the CRC of the element around it."""
    _multiply_number(data, data.index(b"\x44\x89\x88") + 3, ">d")


def _multiply_in_avi(data: bytearray) -> None:
    """AVI: dwTotalFrames of avih and dwLength of strh."""
    _multiply_number(data, data.index(b"avih") + 8 + 16, "<I")
    _multiply_number(data, data.index(b"strh") + 8 + 32, "<I")


def _multiply_in_flv(data: bytearray) -> None:
    """FLV: the number `duration` of onMetaData."""
    _multiply_number(data, data.index(b"duration") + 9, ">d")


def _multiply_number(data: bytearray, offset: int, number_format: str) -> None:
    (value,) = struct.unpack_from(number_format, data, offset)
    assert value > 0
    struct.pack_into(number_format, data, offset, value * CLAIMED_LENGTH_FACTOR)


_MULTIPLY_DURATION: dict[str, Callable[[bytearray], None]] = {
    ".mp4": _multiply_in_mp4,
    ".mov": _multiply_in_mp4,
    ".mkv": _multiply_in_matroska,
    ".avi": _multiply_in_avi,
    ".flv": _multiply_in_flv,
}

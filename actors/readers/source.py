"""A video file, opened by the demuxer that its first bytes name, which may open nothing else."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from db.errors import FotogramaError
from db.media import HEAD_BYTES, Container, sniff

MAX_SIDE = 16_384
_DEMUXERS = {
    Container.MP4: "mov",
    Container.MATROSKA: "matroska",
    Container.AVI: "avi",
    Container.MPEG_TS: "mpegts",
    Container.MPEG_PS: "mpeg",
    Container.FLV: "flv",
    Container.ASF: "asf",
}
_ALWAYS_STRICT = {"hevc"}
"""Decoders that pass over damaged slices in silence unless they are told not to."""
_VIDEO_SEQUENCE = b"\x00\x00\x01\xb3"


class DamagedPacketError(Exception):
    """The decoder can't make a picture of a packet."""


class BrokenOffError(Exception):
    """The demuxer can't go on."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file and the demuxer that its first bytes name."""

    path: Path
    container: Container
    demuxer: str


def source_of(path: Path) -> Source:
    """Raises FotogramaError `empty_file`, `playlist` or `not_a_video`."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    container = sniff(head)
    return Source(path, container, "mpegvideo" if head.startswith(_VIDEO_SEQUENCE) else _DEMUXERS[container])


def open_video(source: Source, *, strict: bool = False) -> tuple[InputContainer, VideoStream]:
    """Opens the file with its named demuxer, which may open nothing else, and picks the best video stream.

    strict: the decoder gives an error for each thing that it finds wrong.
    Raises FotogramaError `unreadable_container`, `no_video_stream`, `unsupported_codec` or `picture_too_large`.
    """
    try:
        container = av.open(
            f"file:{source.path}",
            "r",
            format=source.demuxer,
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except FFmpegError as error:
        refuse_out_of_memory(error)
        raise FotogramaError("unreadable_container", f"The {source.container} index can't be read.") from error
    try:
        return container, _video_stream(container, strict)
    except BaseException:
        container.close()
        raise


def _video_stream(container: InputContainer, strict: bool) -> VideoStream:
    """The best video stream that is not a cover picture; the packets of all others are thrown away early."""
    best = container.streams.best("video")
    films = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not films:
        raise FotogramaError("no_video_stream")
    video = next((stream for stream in films if stream is best), films[0])
    for stream in container.streams:
        if stream.index != video.index:
            stream.discard = Discard.all
    if video.codec_context is None:
        raise FotogramaError("unsupported_codec")
    options = {"max_pixels": str(MAX_SIDE**2)}
    if strict or video.codec.canonical_name in _ALWAYS_STRICT:
        options["err_detect"] = "explode"
    video.codec_context.options = options
    if max(video.codec_context.width, video.codec_context.height) > MAX_SIDE:
        raise FotogramaError("picture_too_large", f"{video.codec_context.width} × {video.codec_context.height} pixels.")
    return video


def decode(stream: VideoStream, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
    """Decodes one packet, or with None what the decoder still holds.

    Raises DamagedPacketError, or MemoryError when there is no memory for the picture.
    """
    try:
        return stream.codec_context.decode(packet)
    except FFmpegError as error:
        refuse_out_of_memory(error)
        raise DamagedPacketError from error


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The stream's packets that hold something, as far as the file goes.

    Raises BrokenOffError after the last one when the file can't be read on, or MemoryError.
    """
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except FFmpegError as error:
        refuse_out_of_memory(error)
        raise BrokenOffError from error


def refuse_out_of_memory(error: FFmpegError) -> None:
    """Too little memory is no fault of the file: raises MemoryError."""
    if error.errno == errno.ENOMEM:
        raise MemoryError from error

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
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from actors.container.container_integrity import is_encrypted
from actors.container.error_detection import MAX_SIDE, has_broken_units
from actors.container.matroska_clusters import Clusters
from db.values.error_catalogue import CatalogueError
from db.values.file_type import HEAD_BYTES, Container, sniff

_DEMUXERS = {
    Container.MP4: "mov",
    Container.MATROSKA: "matroska",
    Container.AVI: "avi",
    Container.MPEG_TS: "mpegts",
    Container.MPEG_PS: "mpeg",
    Container.FLV: "flv",
    Container.ASF: "asf",
}
_VIDEO_SEQUENCE = b"\x00\x00\x01\xb3"


class DamagedPacketError(Exception):
    """The decoder can't make a picture of a packet."""


class TruncatedStreamError(Exception):
    """The demuxer can't go on."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file and the demuxer that its first bytes name. lenient: its very first picture fails the checks that its
    decoder can make, so that these say nothing about damage."""

    path: Path
    container: Container
    demuxer: str
    lenient: bool = False


def source_of(path: Path) -> Source:
    """Raises CatalogueError `empty_file`, `playlist` or `not_a_video`."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    container = sniff(head)
    return Source(path, container, "mpegvideo" if head.startswith(_VIDEO_SEQUENCE) else _DEMUXERS[container])


def open_video(source: Source) -> tuple[InputContainer, VideoStream]:
    """Opens the file with its named demuxer, which may open nothing else, and picks the best video stream.

    Raises CatalogueError `unreadable_container`, `no_video_stream`, `unsupported_codec`, `encrypted` or
    `picture_too_large`.
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
        raise CatalogueError("unreadable_container", f"The {source.container} index can't be read.") from error
    try:
        return container, _video_stream(container, source)
    except BaseException:
        container.close()
        raise


def _video_stream(container: InputContainer, source: Source) -> VideoStream:
    """The best video stream that is not a cover picture; the packets of all others are thrown away early."""
    films = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not films:
        raise CatalogueError("no_video_stream")
    video = max(films, key=_worth)
    for stream in container.streams:
        if stream.index != video.index:
            stream.discard = Discard.all
    if video.codec_context is None:
        protected = source.container is Container.MP4 and is_encrypted(source.path)
        raise CatalogueError("encrypted" if protected else "unsupported_codec")
    if max(video.codec_context.width, video.codec_context.height) > MAX_SIDE:
        raise CatalogueError("picture_too_large", f"{video.codec_context.width} × {video.codec_context.height} pixels.")
    return video


def _worth(stream: VideoStream) -> tuple[bool, bool, int]:
    """Of several streams the one that can be decoded, then the one marked default, then the largest, then the first."""
    context = stream.codec_context
    if context is None:
        return (False, False, 0)
    return (True, bool(stream.disposition & Disposition.default), context.width * context.height)


def decode(
    decoder: VideoCodecContext, packet: Packet[VideoStream] | None, *, lenient: bool = False
) -> list[VideoFrame]:
    """Decodes one packet, or with None what the decoder still holds. lenient: as for `decoder_of`.

    Raises DamagedPacketError, or MemoryError when there is no memory for the picture.
    """
    if packet is not None and not lenient and has_broken_units(decoder, packet):
        raise DamagedPacketError
    try:
        return decoder.decode(packet)
    except FFmpegError as error:
        refuse_out_of_memory(error)
        raise DamagedPacketError from error


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The stream's packets that hold something, as far as the file goes.

    Raises TruncatedStreamError after the last one when the file can't be read on, or MemoryError.
    """
    clusters = None
    try:
        for packet in container.demux(stream):
            if packet.size:
                if packet.pts is None and (clusters := clusters or clusters_of(container)):
                    packet.pts = clusters.time_at(packet.pos)  # FFmpeg does not tell times before zero
                yield packet
    except FFmpegError as error:
        refuse_out_of_memory(error)
        raise TruncatedStreamError from error


def clusters_of(container: InputContainer) -> Clusters | None:
    """Of a Matroska file."""
    if not container.format.name.startswith("matroska"):
        return None
    return Clusters(path_of(container))


def path_of(container: InputContainer) -> Path:
    return Path(container.name.removeprefix("file:"))


def refuse_out_of_memory(error: FFmpegError) -> None:
    """Too little memory is no fault of the file: raises MemoryError."""
    if error.errno == errno.ENOMEM:
        raise MemoryError from error

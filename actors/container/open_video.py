"""Opens a video file with the demuxer that its first bytes name, and reads packets of its best video stream."""

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
from av.video.stream import VideoStream

from actors.container.container_integrity import has_encrypted_mp4_track
from actors.container.matroska_cluster_checks import ClusterIndex
from db.values.error_catalogue import CatalogueError
from db.values.file_type import HEAD_BYTES, Container, sniff

MAX_CODED_SIDE = 16_384
_DEMUXERS = {
    Container.MP4: "mov",
    Container.MATROSKA: "matroska",
    Container.AVI: "avi",
    Container.MPEG_TS: "mpegts",
    Container.MPEG_PS: "mpeg",
    Container.FLV: "flv",
    Container.ASF: "asf",
}
_MPEG_SEQUENCE_HEADER = b"\x00\x00\x01\xb3"


class TruncatedStreamError(Exception):
    """The demuxer can't read on before the end of the stream."""


@dataclass(frozen=True, slots=True)
class VideoSource:
    """A file and the demuxer that its first bytes name. unchecked: its first key frames fail the checks of
    `actors.container.checked_decoder` although nothing is damaged, so that these checks are left out."""

    path: Path
    container: Container
    demuxer: str
    unchecked: bool = False


def identify_source(path: Path) -> VideoSource:
    """Raises CatalogueError `empty_file`, `playlist` or `not_a_video`."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    container = sniff(head)
    demuxer = "mpegvideo" if head.startswith(_MPEG_SEQUENCE_HEADER) else _DEMUXERS[container]
    return VideoSource(path, container, demuxer)


def open_video(source: VideoSource) -> tuple[InputContainer, VideoStream]:
    """Opens the file with the named demuxer and picks the best video stream. The demuxer can't open any other file.

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
        raise_if_out_of_memory(error)
        raise CatalogueError("unreadable_container", f"The {source.container} index can't be read.") from error
    try:
        return container, _best_video_stream(container, source)
    except BaseException:
        container.close()
        raise


def _best_video_stream(container: InputContainer, source: VideoSource) -> VideoStream:
    """The best video stream that is not a cover picture. The demuxer discards the packets of all other streams."""
    candidates = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not candidates:
        raise CatalogueError("no_video_stream")
    video = max(candidates, key=_stream_priority)
    for stream in container.streams:
        if stream.index != video.index:
            stream.discard = Discard.all
    if video.codec_context is None:
        is_encrypted = source.container is Container.MP4 and has_encrypted_mp4_track(source.path)
        raise CatalogueError("encrypted" if is_encrypted else "unsupported_codec")
    if max(video.codec_context.width, video.codec_context.height) > MAX_CODED_SIDE:
        raise CatalogueError("picture_too_large", f"{video.codec_context.width} × {video.codec_context.height} pixels.")
    return video


def _stream_priority(stream: VideoStream) -> tuple[bool, bool, int]:
    """Streams that can be decoded come first, then the one marked default, then the largest."""
    context = stream.codec_context
    if context is None:
        return (False, False, 0)
    return (True, bool(stream.disposition & Disposition.default), context.width * context.height)


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The stream's packets that hold data, up to where the file can be read.

    Raises TruncatedStreamError after the last packet when the demuxer fails before the end; MemoryError.
    """
    clusters = None
    try:
        for packet in container.demux(stream):
            if packet.size:
                if packet.pts is None and (clusters := clusters or cluster_index(container)):
                    packet.pts = clusters.block_time(packet.pos)  # FFmpeg gives no times before zero
                yield packet
    except FFmpegError as error:
        raise_if_out_of_memory(error)
        raise TruncatedStreamError from error


def cluster_index(container: InputContainer) -> ClusterIndex | None:
    """The clusters of a Matroska file; None for other formats."""
    if not container.format.name.startswith("matroska"):
        return None
    return ClusterIndex(path_of(container))


def path_of(container: InputContainer) -> Path:
    return Path(container.name.removeprefix("file:"))


def raise_if_out_of_memory(error: FFmpegError) -> None:
    """Raises MemoryError: too little memory is not the file's fault."""
    if error.errno == errno.ENOMEM:
        raise MemoryError from error

"""The type of a file by its first bytes (magic numbers): which containers are accepted.

Pure: no file is opened here and nothing of FFmpeg is imported.
"""

from __future__ import annotations

from enum import StrEnum

from db.values.error_catalogue import CatalogueError

HEAD_BYTES = 1024
"""How many of a file's first bytes `sniff` needs."""


class Container(StrEnum):
    """Accepted containers; the value is the name that users see."""

    MP4 = "mp4"
    MATROSKA = "matroska"
    AVI = "avi"
    MPEG_TS = "mpegts"
    MPEG_PS = "mpeg"
    FLV = "flv"
    ASF = "asf"


_MP4_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp"}
_PLAYLIST_HEADS = (
    b"#EXTM3U",
    b"#EXTINF",
    b"<?xml",
    b"<MPD",
    b"<smil",
    b"ffconcat",
    b"[playlist]",
    b"<ASX",
    b"RTSPtext",
)
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_TS_PACKET = 188
_M2TS_PACKET = 192


def sniff(head: bytes) -> Container:
    """Returns the container by a file's first bytes (HEAD_BYTES of them, or the whole file when it is shorter).

    FFmpeg is then told which demuxer to use and never guesses: a playlist or a script that claims to be a video
    can't reach a demuxer that opens other files or addresses.

    Raises CatalogueError `empty_file`, `playlist` or `not_a_video`.
    """
    if not head:
        raise CatalogueError("empty_file")
    if container := _match(head):
        return container
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_PLAYLIST_HEADS):
        raise CatalogueError("playlist")
    raise CatalogueError("not_a_video")


def _match(head: bytes) -> Container | None:
    if head[4:8] in _MP4_FIRST_BOXES:
        return Container.MP4
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return Container.MATROSKA
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return Container.AVI
    if head.startswith((b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3")):
        return Container.MPEG_PS
    if head.startswith(b"FLV\x01"):
        return Container.FLV
    if head.startswith(_ASF_HEADER):
        return Container.ASF
    if _has_sync(head, 0, _TS_PACKET) or _has_sync(head, 4, _M2TS_PACKET):
        return Container.MPEG_TS
    return None


def _has_sync(head: bytes, first: int, step: int) -> bool:
    positions = range(first, min(len(head), first + 4 * step + 1), step)
    return len(positions) >= 2 and all(head[position] == 0x47 for position in positions)

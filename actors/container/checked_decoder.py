"""A decoder with FFmpeg's checks for damage turned on, and what it makes of a packet.

Most formats have no checksums. A decoder notices a wrong bit when the rest of the packet makes no sense, and FFmpeg's
decoders ignore much of that unless they are told not to: docs/decisions/0006-what-damage-is-noticed.md.
"""

from __future__ import annotations

import re

from av.codec.codec import Codec, UnknownCodecError
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from actors.container.open_video import MAX_CODED_SIDE, raise_if_out_of_memory

_ERR_DETECT = {
    "h264": "aggressive",  # a slice of variable-length codes must end where its packet ends
    "hevc": "explode",  # a damaged slice, or an MD5 that differs, fails the packet
    "mjpeg": "explode",
    "msmpeg4v1": "buffer",  # a picture must end near the end of its packet
    "msmpeg4v2": "buffer",
    "msmpeg4v3": "buffer",
    "wmv1": "buffer",
    "wmv2": "buffer",
}
_STRICT_COMPLIANCE = {"av1"}
"""dav1d checks the padding after a picture's last symbol only when strict compliance with the standard is requested."""
_CHECKING_DECODERS = {"vp9": "libvpx-vp9"}
"""FFmpeg's native decoder shows damaged pictures. This one refuses them and takes a tenth to a quarter more time."""
_CHECKING_DECODER_FORMATS = {"yuv420p", "yuv422p", "yuv440p", "yuv444p", "gbrp"}

_LENGTH_SIZE_OFFSETS = {"h264": 4, "hevc": 21}
"""The byte of avcC and hvcC (ISO/IEC 14496-15) with the size of a NAL unit's length."""
_FORBIDDEN_BYTES = re.compile(rb"\x00\x00[\x01\x02]|\x00\x00\x00+[^\x00]")
"""Zeros at the end of a NAL unit are allowed: some muxers leave them there."""
_FORBIDDEN_ANNEX_B_BYTES = re.compile(rb"\x00\x00\x02|\x00\x00\x00+[^\x00\x01]")


class PacketDecodeError(Exception):
    """The decoder refuses a packet."""


def configure_decoder(
    stream: VideoStream, *, explode: bool = False, unchecked: bool = False, native: bool = False
) -> VideoCodecContext:
    """The decoder of a stream, not yet open.

    explode: each error that it finds fails the packet (FFmpeg's err_detect=explode). unchecked: without the checks
    that are off by default. native: FFmpeg's native decoder, which gives each frame the container's side data.
    """
    codec, context = stream.codec.canonical_name, stream.codec_context
    if not (unchecked or native) and codec in _CHECKING_DECODERS and _has_checkable_format(stream):
        context = _checking_decoder(_CHECKING_DECODERS[codec], context)
    context.options = _options(codec, explode=explode, unchecked=unchecked)
    return context


def decode_packet(
    decoder: VideoCodecContext, packet: Packet[VideoStream] | None, *, unchecked: bool = False
) -> list[VideoFrame]:
    """Decodes one packet; None flushes the decoder. unchecked: as for `configure_decoder`.

    Raises PacketDecodeError, or MemoryError when there is no memory for the picture.
    """
    if packet is not None and not unchecked and has_invalid_nal_units(decoder, packet):
        raise PacketDecodeError
    try:
        return decoder.decode(packet)
    except FFmpegError as error:
        raise_if_out_of_memory(error)
        raise PacketDecodeError from error


def has_invalid_nal_units(decoder: VideoCodecContext, packet: Packet[VideoStream]) -> bool:
    """Whether a packet of H.264 or HEVC holds bytes that no encoder writes.

    A NAL unit never contains the three bytes 0, 0 and 0 to 2 (H.264 and H.265, 7.4.1). In a container that stores the
    lengths of the units, the units fill the packet. FFmpeg's decoders ignore both rules.
    """
    codec = decoder.codec.canonical_name
    if codec not in _LENGTH_SIZE_OFFSETS:
        return False
    length_size = _nal_length_size(decoder.extradata, _LENGTH_SIZE_OFFSETS[codec])
    data = memoryview(packet)
    if length_size == 0:
        return _FORBIDDEN_ANNEX_B_BYTES.search(data) is not None
    position = 0
    while position < len(data):
        start = position + length_size
        position = start + int.from_bytes(data[position:start], "big")
        if position > len(data) or position == start or _FORBIDDEN_BYTES.search(data, start, position):
            return True
    return False


def _nal_length_size(configuration: bytes | None, offset: int) -> int:
    """Bytes of the length before each NAL unit; 0 when the stream has start codes instead."""
    data = configuration or b""
    return (data[offset] & 3) + 1 if len(data) > offset and data[0] == 1 else 0


def _has_checkable_format(stream: VideoStream) -> bool:
    """Whether libvpx decodes the stream as FFmpeg's native decoder does: 8 bits, no transparency."""
    pixel_format = stream.codec_context.format
    return (
        pixel_format is not None
        and pixel_format.name in _CHECKING_DECODER_FORMATS
        and stream.metadata.get("alpha_mode", "0") == "0"
    )


def _checking_decoder(name: str, native: VideoCodecContext) -> VideoCodecContext:
    """The named decoder with the container's color tags; the native one when this build of FFmpeg lacks it."""
    try:
        context = CodecContext.create(Codec(name, "r"))
    except UnknownCodecError:
        return native
    assert isinstance(context, VideoCodecContext)
    context.extradata = native.extradata
    context.color_primaries, context.color_trc = native.color_primaries, native.color_trc
    context.colorspace, context.color_range = native.colorspace, native.color_range
    return context


def _options(codec: str, *, explode: bool, unchecked: bool) -> dict[str, str]:
    flags = ["crccheck"]
    if codec in _ERR_DETECT and not unchecked:
        flags.append(_ERR_DETECT[codec])
    if explode and not unchecked and "explode" not in flags:
        flags.append("explode")
    options = {"max_pixels": str(MAX_CODED_SIDE**2), "err_detect": "+".join(flags)}
    return options | {"strict": "strict"} if codec in _STRICT_COMPLIANCE and not unchecked else options

"""What decoders can notice of damage, and how they are asked to: docs/decisions/0006-what-damage-is-noticed.md.

Most formats have no checksums. A decoder notices a wrong bit when the rest of the packet makes no sense, and FFmpeg's
pass over much of that in silence unless they are told not to.
"""

from __future__ import annotations

import re

from av.codec.codec import Codec, UnknownCodecError
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

MAX_SIDE = 16_384
_CHECKS = {
    "h264": "aggressive",  # a slice of variable-length codes ends where its packet does
    "hevc": "explode",  # a damaged slice, or an MD5 that differs, fails the packet
    "mjpeg": "explode",
    "msmpeg4v1": "buffer",  # a picture ends near where its packet does
    "msmpeg4v2": "buffer",
    "msmpeg4v3": "buffer",
    "wmv1": "buffer",
    "wmv2": "buffer",
}
_STRICT_STANDARD = {"av1"}
"""dav1d looks at the padding behind a picture's last symbol only when asked to abide by the standard."""
_THOROUGH = {"vp9": "libvpx-vp9"}
"""FFmpeg's own decoder shows any nonsense; this one refuses it, for a tenth to a quarter more time."""
_THOROUGH_FORMATS = {"yuv420p", "yuv422p", "yuv440p", "yuv444p", "gbrp"}

_LENGTH_PLACES = {"h264": 4, "hevc": 21}
"""Where avcC and hvcC (ISO/IEC 14496-15) tell the bytes of a unit's length."""
_FORBIDDEN = re.compile(rb"\x00\x00[\x01\x02]|\x00\x00\x00+[^\x00]")
"""Zeros at the end of a unit are left there by some muxers."""
_FORBIDDEN_BETWEEN_START_CODES = re.compile(rb"\x00\x00\x02|\x00\x00\x00+[^\x00\x01]")


def decoder_of(
    stream: VideoStream, *, strict: bool = False, lenient: bool = False, own: bool = False
) -> VideoCodecContext:
    """The decoder of a stream, not yet open.

    strict: it gives an error for each thing that it finds wrong. lenient: it makes no checks but those it always
    makes. own: FFmpeg's own decoder, which gives each frame what the container says of all.
    """
    codec, context = stream.codec.canonical_name, stream.codec_context
    if not (lenient or own) and codec in _THOROUGH and _is_plain(stream):
        context = _other_decoder(_THOROUGH[codec], context)
    context.options = _options(codec, strict=strict, lenient=lenient)
    return context


def has_broken_units(decoder: VideoCodecContext, packet: Packet[VideoStream]) -> bool:
    """Whether a packet of H.264 or HEVC can't be what an encoder wrote.

    In a NAL unit no three bytes are 0, 0 and 0 to 2 (H.264 and H.265, 7.4.1), and in a container that tells the units'
    lengths these fill the packet. A decoder that takes bits as they come would pass over both.
    """
    codec = decoder.codec.canonical_name
    if codec not in _LENGTH_PLACES:
        return False
    size = _length_bytes(decoder.extradata, _LENGTH_PLACES[codec])
    data = memoryview(packet)
    if size == 0:
        return _FORBIDDEN_BETWEEN_START_CODES.search(data) is not None
    at = 0
    while at < len(data):
        begin = at + size
        at = begin + int.from_bytes(data[at:begin], "big")
        if at > len(data) or at == begin or _FORBIDDEN.search(data, begin, at):
            return True
    return False


def _length_bytes(configuration: bytes | None, place: int) -> int:
    """Of the length before each unit; 0 when there are start codes instead."""
    data = configuration or b""
    return (data[place] & 3) + 1 if len(data) > place and data[0] == 1 else 0


def _is_plain(stream: VideoStream) -> bool:
    """Whether libvpx takes it as FFmpeg's decoder does: 8 bits, no transparency."""
    pixel_format = stream.codec_context.format
    return (
        pixel_format is not None
        and pixel_format.name in _THOROUGH_FORMATS
        and stream.metadata.get("alpha_mode", "0") == "0"
    )


def _other_decoder(name: str, own: VideoCodecContext) -> VideoCodecContext:
    """With what the container says of the pictures; the own decoder where this build has no other."""
    try:
        context = CodecContext.create(Codec(name, "r"))
    except UnknownCodecError:
        return own
    assert isinstance(context, VideoCodecContext)
    context.extradata = own.extradata
    context.color_primaries, context.color_trc = own.color_primaries, own.color_trc
    context.colorspace, context.color_range = own.colorspace, own.color_range
    return context


def _options(codec: str, *, strict: bool, lenient: bool) -> dict[str, str]:
    flags = ["crccheck"]
    if codec in _CHECKS and not lenient:
        flags.append(_CHECKS[codec])
    if strict and not lenient and "explode" not in flags:
        flags.append("explode")
    options = {"max_pixels": str(MAX_SIDE**2), "err_detect": "+".join(flags)}
    return options | {"strict": "strict"} if codec in _STRICT_STANDARD and not lenient else options

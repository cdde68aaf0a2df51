"""What the first bytes of a packet tell about it: whether decoding can start there, and whether it is disposable.

Nothing is decoded. When the bytes leave a doubt, the answer is no.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import TypeAlias

Bytes: TypeAlias = bytes | memoryview
PacketTest: TypeAlias = Callable[[Bytes], bool]

_START_CODE = b"\x00\x00\x01"
_SEI_RECOVERY_POINT = 6
_H264_NON_VCL, _HEVC_NON_VCL = {6, 9, 12}, {35, 38, 39, 40}
"""NAL units without picture data: supplemental information, delimiters and filler. A disposable packet may hold these
beside its pictures, but no others."""
_AV1_FRAME_HEADER, _AV1_FRAME = 3, 6


class RandomAccess(Enum):
    """Whether a decoder that starts at a packet can decode every picture shown after it.

    CLOSED: yes. OPEN: yes, but pictures shown before the packet follow it, and later pictures may refer to pictures
    from before the packet. NONE: no, or not known.
    """

    NONE, OPEN, CLOSED = range(3)


class BitstreamParser:
    """Reads packets of one stream. extradata: the codec configuration that the container stores (avcC, hvcC).

    random_access(packet): whether decoding can start at the packet. is_disposable(packet): whether no other picture
    refers to a picture in the packet (FFmpeg's AV_PKT_FLAG_DISPOSABLE).
    """

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        data = extradata or b""
        parsers: dict[str, tuple[Callable[[Bytes], RandomAccess], PacketTest]] = {
            "h264": _h264(data),
            "hevc": _hevc(data),
            "vp8": (_vp8_random_access, _is_never_disposable),
            "vp9": (_vp9_random_access, _is_never_disposable),
            "av1": (_av1_random_access, _is_never_disposable),
        }
        self.random_access, self.is_disposable = parsers.get(codec, (_no_random_access, _is_never_disposable))


def _no_random_access(packet: Bytes) -> RandomAccess:
    return RandomAccess.NONE


def _is_never_disposable(packet: Bytes) -> bool:
    return False


def _closed_if(closed: bool) -> RandomAccess:
    return RandomAccess.CLOSED if closed else RandomAccess.NONE


def _h264(extradata: bytes) -> tuple[Callable[[Bytes], RandomAccess], PacketTest]:
    """ITU-T H.264, 7.4.1 and D.2.8; ISO/IEC 14496-15, 5.3.3 (avcC)."""
    length_size = (extradata[4] & 3) + 1 if len(extradata) > 6 and extradata[0] == 1 else 0

    def random_access(packet: Bytes) -> RandomAccess:
        recovers = False
        for unit in _nal_units(packet, length_size):
            kind = unit[0] & 0x1F
            if kind in {1, 2, 5}:
                return RandomAccess.CLOSED if kind == 5 else RandomAccess.OPEN if recovers else RandomAccess.NONE
            recovers = recovers or (kind == 6 and _has_exact_recovery_point(unit))
        return RandomAccess.NONE

    def is_disposable(packet: Bytes) -> bool:
        slices = [unit[0] for unit in _nal_units(packet, length_size) if unit[0] & 0x1F not in _H264_NON_VCL]
        return bool(slices) and all(header & 0x60 == 0 and header & 0x1F == 1 for header in slices)

    return random_access, is_disposable


def _has_exact_recovery_point(unit: Bytes) -> bool:
    """Whether an SEI unit holds a recovery point with recovery_frame_cnt 0 and exact_match_flag 1."""
    position = 1
    while position + 2 < len(unit):
        kind, position = _sei_number(unit, position)
        length, position = _sei_number(unit, position)
        if kind == _SEI_RECOVERY_POINT:
            return position < len(unit) and unit[position] & 0xC0 == 0xC0
        position += length
    return False


def _sei_number(unit: Bytes, position: int) -> tuple[int, int]:
    """A number coded as bytes 255 and a last byte, summed; and the position after it."""
    total = 0
    while position < len(unit) and unit[position] == 0xFF:
        total, position = total + 0xFF, position + 1
    return (total + unit[position], position + 1) if position < len(unit) else (total, position)


def _hevc(extradata: bytes) -> tuple[Callable[[Bytes], RandomAccess], PacketTest]:
    """ITU-T H.265, table 7-1; ISO/IEC 14496-15, 8.3.3 (hvcC).

    A picture of a higher temporal layer may refer to a sub-layer non-reference picture. Such a picture is disposable
    only in a stream that declares a single layer.
    """
    has_configuration = len(extradata) > 22 and extradata[0] == 1
    length_size = (extradata[21] & 3) + 1 if has_configuration else 0
    has_one_layer = has_configuration and extradata[21] >> 3 & 7 == 1

    def random_access(packet: Bytes) -> RandomAccess:
        kinds = (unit[0] >> 1 & 0x3F for unit in _nal_units(packet, length_size))
        return _closed_if(16 <= next((kind for kind in kinds if kind < 32), 0) <= 21)

    def is_disposable(packet: Bytes) -> bool:
        headers = [unit[:2] for unit in _nal_units(packet, length_size) if unit[0] >> 1 & 0x3F not in _HEVC_NON_VCL]
        return has_one_layer and bool(headers) and all(_is_non_reference(bytes(header)) for header in headers)

    return random_access, is_disposable


def _is_non_reference(header: bytes) -> bool:
    """TRAIL_N, RADL_N or RASL_N of the lowest temporal layer of the base layer."""
    return len(header) == 2 and header[0] in {0 << 1, 6 << 1, 8 << 1} and header[1] == 1


def _nal_units(packet: Bytes, length_size: int) -> Iterator[Bytes]:
    """The NAL units of a packet. length_size: bytes of the length before each unit; 0: start codes separate them."""
    if not length_size:
        yield from _annex_b_units(bytes(packet))
        return
    position = 0
    while position + length_size < len(packet):
        length = int.from_bytes(packet[position : position + length_size], "big")
        position += length_size
        if not length or position + length > len(packet):
            return
        yield packet[position : position + length]
        position += length


def _annex_b_units(packet: bytes) -> Iterator[bytes]:
    """The NAL units of a packet with start codes (ITU-T H.264, Annex B)."""
    start = packet.find(_START_CODE)
    while 0 <= start < len(packet) - 3:
        end = packet.find(_START_CODE, start + 3)
        yield packet[start + 3 : end if end > 0 else None]
        start = end


def _vp8_random_access(packet: Bytes) -> RandomAccess:
    """RFC 6386, 9.1."""
    return _closed_if(len(packet) > 0 and packet[0] & 1 == 0)


def _vp9_random_access(packet: Bytes) -> RandomAccess:
    """VP9 bitstream specification, 6.2: frame_marker, profile, show_existing_frame and frame_type."""
    if not len(packet) or packet[0] >> 6 != 2:
        return RandomAccess.NONE
    bit = 2 if packet[0] >> 4 & 3 == 3 else 3
    return _closed_if(packet[0] >> bit & 1 == 0 and packet[0] >> bit - 1 & 1 == 0)


def _av1_random_access(packet: Bytes) -> RandomAccess:
    """AV1 bitstream specification, 5.3 and 5.9: whether the first frame is a key frame that is shown."""
    position = 0
    while position < len(packet):
        header = packet[position]
        position += 2 if header & 4 else 1
        length, position = _leb128(packet, position) if header & 2 else (len(packet) - position, position)
        if header >> 3 & 15 in {_AV1_FRAME_HEADER, _AV1_FRAME}:
            return _closed_if(position < len(packet) and packet[position] & 0xF0 == 0x10)
        position += length
    return RandomAccess.NONE


def _leb128(packet: Bytes, position: int) -> tuple[int, int]:
    """A number in LEB128, and the position after it."""
    value = 0
    for place in range(8):
        if position >= len(packet):
            break
        byte, position = packet[position], position + 1
        value |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            break
    return value, position

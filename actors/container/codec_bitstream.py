"""What the packets of a video codec say of themselves in their first bytes: where decoding may begin, and which
pictures no other one refers to. Nothing is decoded; what is not certain is answered with no.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import TypeAlias

Bytes: TypeAlias = bytes | memoryview
Ask: TypeAlias = Callable[[Bytes], bool]

_START_CODE = b"\x00\x00\x01"
_RECOVERY_POINT = 6
_H264_ASIDE, _HEVC_ASIDE = {6, 9, 12}, {35, 38, 39, 40}
"""Supplemental data, delimiters and filler: the only other units that a packet which is left out may hold."""
_AV1_FRAME_HEADER, _AV1_FRAME = 3, 6


class RandomAccess(Enum):
    """Whether everything shown from a packet on can be decoded from it. OPEN: yes, but pictures shown before it follow,
    and the next ones may speak of others that came before it."""

    NONE, OPEN, CLOSED = range(3)


class Bitstream:
    """Asks about packets of one stream. extradata: the codec's configuration as the container has it."""

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        data = extradata or b""
        asks: dict[str, tuple[Callable[[Bytes], RandomAccess], Ask]] = {
            "h264": _h264(data),
            "hevc": _hevc(data),
            "vp8": (_vp8_entry, _never),
            "vp9": (_vp9_entry, _never),
            "av1": (_av1_entry, _never),
        }
        self.entry, self.is_disposable = asks.get(codec, (_no_entry, _never))
        """entry: what kind of beginning a packet is. is_disposable: whether no other picture refers to any in it."""


def _no_entry(packet: Bytes) -> RandomAccess:
    return RandomAccess.NONE


def _never(packet: Bytes) -> bool:
    return False


def _closed_if(closed: bool) -> RandomAccess:
    return RandomAccess.CLOSED if closed else RandomAccess.NONE


def _h264(extradata: bytes) -> tuple[Callable[[Bytes], RandomAccess], Ask]:
    """ITU-T H.264, 7.4.1 and D.2.8; ISO/IEC 14496-15, 5.3.3 (avcC)."""
    size = (extradata[4] & 3) + 1 if len(extradata) > 6 and extradata[0] == 1 else 0

    def entry(packet: Bytes) -> RandomAccess:
        recovers = False
        for unit in _units(packet, size):
            kind = unit[0] & 0x1F
            if kind in {1, 2, 5}:
                return RandomAccess.CLOSED if kind == 5 else RandomAccess.OPEN if recovers else RandomAccess.NONE
            recovers = recovers or (kind == 6 and _recovers_at_once(unit))
        return RandomAccess.NONE

    def is_disposable(packet: Bytes) -> bool:
        pictures = [unit[0] for unit in _units(packet, size) if unit[0] & 0x1F not in _H264_ASIDE]
        return bool(pictures) and all(header & 0x60 == 0 and header & 0x1F == 1 for header in pictures)

    return entry, is_disposable


def _recovers_at_once(unit: Bytes) -> bool:
    """Whether a supplemental unit holds a recovery point of 0 frames with exact match."""
    at = 1
    while at + 2 < len(unit):
        kind, at = _counted(unit, at)
        length, at = _counted(unit, at)
        if kind == _RECOVERY_POINT:
            return at < len(unit) and unit[at] & 0xC0 == 0xC0
        at += length
    return False


def _counted(unit: Bytes, at: int) -> tuple[int, int]:
    """A number in bytes of 255 and a last one, and the place after it."""
    total = 0
    while at < len(unit) and unit[at] == 0xFF:
        total, at = total + 0xFF, at + 1
    return (total + unit[at], at + 1) if at < len(unit) else (total, at)


def _hevc(extradata: bytes) -> tuple[Callable[[Bytes], RandomAccess], Ask]:
    """ITU-T H.265, table 7-1; ISO/IEC 14496-15, 8.3.3 (hvcC).

    A sub-layer non-reference picture may still serve a higher temporal layer: only in a stream that declares to have
    one layer is it disposable.
    """
    configured = len(extradata) > 22 and extradata[0] == 1
    size = (extradata[21] & 3) + 1 if configured else 0
    one_layer = configured and extradata[21] >> 3 & 7 == 1

    def entry(packet: Bytes) -> RandomAccess:
        kinds = (unit[0] >> 1 & 0x3F for unit in _units(packet, size))
        return _closed_if(16 <= next((kind for kind in kinds if kind < 32), 0) <= 21)

    def is_disposable(packet: Bytes) -> bool:
        pictures = [unit[:2] for unit in _units(packet, size) if unit[0] >> 1 & 0x3F not in _HEVC_ASIDE]
        return one_layer and bool(pictures) and all(_is_leaf(bytes(header)) for header in pictures)

    return entry, is_disposable


def _is_leaf(header: bytes) -> bool:
    """TRAIL_N, RADL_N or RASL_N of the lowest temporal layer of the base layer."""
    return len(header) == 2 and header[0] in {0 << 1, 6 << 1, 8 << 1} and header[1] == 1


def _units(packet: Bytes, size: int) -> Iterator[Bytes]:
    """The NAL units: behind lengths of `size` bytes, or with 0 behind start codes."""
    if not size:
        yield from _units_behind_start_codes(bytes(packet))
        return
    at = 0
    while at + size < len(packet):
        length = int.from_bytes(packet[at : at + size], "big")
        at += size
        if not length or at + length > len(packet):
            return
        yield packet[at : at + length]
        at += length


def _units_behind_start_codes(packet: bytes) -> Iterator[bytes]:
    at = packet.find(_START_CODE)
    while 0 <= at < len(packet) - 3:
        end = packet.find(_START_CODE, at + 3)
        yield packet[at + 3 : end if end > 0 else None]
        at = end


def _vp8_entry(packet: Bytes) -> RandomAccess:
    """RFC 6386, 9.1."""
    return _closed_if(len(packet) > 0 and packet[0] & 1 == 0)


def _vp9_entry(packet: Bytes) -> RandomAccess:
    """VP9 bitstream specification, 6.2: frame_marker, profile, show_existing_frame and frame_type."""
    if not len(packet) or packet[0] >> 6 != 2:
        return RandomAccess.NONE
    at = 2 if packet[0] >> 4 & 3 == 3 else 3
    return _closed_if(packet[0] >> at & 1 == 0 and packet[0] >> at - 1 & 1 == 0)


def _av1_entry(packet: Bytes) -> RandomAccess:
    """AV1 bitstream specification, 5.3 and 5.9: the first frame is a shown key frame."""
    at = 0
    while at < len(packet):
        header = packet[at]
        at += 2 if header & 4 else 1
        length, at = _leb128(packet, at) if header & 2 else (len(packet) - at, at)
        if header >> 3 & 15 in {_AV1_FRAME_HEADER, _AV1_FRAME}:
            return _closed_if(at < len(packet) and packet[at] & 0xF0 == 0x10)
        at += length
    return RandomAccess.NONE


def _leb128(packet: Bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        if at >= len(packet):
            break
        byte, at = packet[at], at + 1
        value |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            break
    return value, at

"""Ways to damage a file. The same seed gives the same damage."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

Damage = Callable[[bytearray, Random], None]


def bit_flips(data: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 1, 3))):
        bit = random.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8


def zeroed_block(data: bytearray, random: Random) -> None:
    """Like a missing piece of a download or a lost sector."""
    _overwrite(data, random, bytes(random.choice((64, 512, 2048))))


def noise_block(data: bytearray, random: Random) -> None:
    _overwrite(data, random, random.randbytes(random.choice((16, 256))))


def swapped_blocks(data: bytearray, random: Random) -> None:
    size = random.choice((188, 512))
    first, second = (random.randrange(max(1, len(data) - size)) // size * size for _ in range(2))
    data[first : first + size], data[second : second + size] = data[second : second + size], data[first : first + size]


def lost_block(data: bytearray, random: Random) -> None:
    position = random.randrange(len(data))
    del data[position : position + random.choice((1, 188, 1000))]


def repeated_block(data: bytearray, random: Random) -> None:
    position = random.randrange(len(data))
    data[position:position] = data[position : position + random.choice((1, 188, 1000))]


def cut_tail(data: bytearray, random: Random) -> None:
    del data[random.randrange(1, len(data)) :]


def cut_head(data: bytearray, random: Random) -> None:
    del data[: random.randrange(1, len(data))]


def absurd_number(data: bytearray, random: Random) -> None:
    """A size, a count or a time anywhere in the container's own structures becomes huge, negative or zero."""
    positions = [start + offset for tag, offset in _NUMBER_OFFSETS for start in _find_tags(data, tag)]
    position = random.choice([position for position in positions if position + 4 <= len(data)] or [0])
    struct.pack_into(">I", data, position, random.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)))


_NUMBER_OFFSETS = [
    *((b"stts", offset) for offset in (8, 12, 16)),
    *((b"ctts", offset) for offset in (8, 12, 16)),
    *((b"stsz", offset) for offset in (8, 12, 16, 40)),
    *((b"stsc", offset) for offset in (8, 12, 16, 20)),
    *((b"stss", offset) for offset in (8, 12)),
    *((b"stco", offset) for offset in (8, 12)),
    *((b"elst", offset) for offset in (8, 12, 16)),
    *((b"mdhd", offset) for offset in (16, 20)),
    *((b"mvhd", offset) for offset in (16, 20)),
    *((b"tkhd", offset) for offset in (24, 80, 84)),
    *((b"avc1", offset) for offset in (28, -4)),
    *((name, -4) for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mdat", b"moof", b"trun")),
    *((b"avih", offset) for offset in (4, 8, 24, 40, 44)),
    *((b"strh", offset) for offset in (28, 32, 40)),
    *((b"strf", offset) for offset in (12, 16)),
    *((b"idx1", offset) for offset in (4, 16, 20)),
    *((b"LIST", 4), (b"movi", 8)),
    *((b"\x1f\x43\xb6\x75", offset) for offset in (4, 8)),
    *((b"\x16\x54\xae\x6b", offset) for offset in (4, 12)),
    *((b"\x2a\xd7\xb1", 3), (b"\x44\x89\x88", 3), (b"\xb0\x82", 2), (b"\xe7\x81", 1)),
    *((b"duration", 9), (b"FLV\x01", 5)),
    *((b"\x00\x00\x01\xba", 4), (b"\x00\x00\x01\xb3", 4), (b"\x00\x00\x01\xe0", 4)),
]
"""Tags in containers, and the offset of a number from the first byte of its tag."""


def _find_tags(data: bytearray, tag: bytes) -> list[int]:
    positions: list[int] = []
    position = data.find(tag)
    while position >= 0 and len(positions) < 8:
        positions.append(position)
        position = data.find(tag, position + 1)
    return positions


def _overwrite(data: bytearray, random: Random, block: bytes) -> None:
    position = random.randrange(max(1, len(data) - len(block)))
    data[position : position + len(block)] = block[: len(data) - position]


DAMAGES: dict[str, Damage] = {
    "bit flips": bit_flips,
    "zeroed block": zeroed_block,
    "noise block": noise_block,
    "swapped blocks": swapped_blocks,
    "lost block": lost_block,
    "repeated block": repeated_block,
    "cut tail": cut_tail,
    "cut head": cut_head,
    "absurd number": absurd_number,
}

"""Pictures with a readable number: a grid of 32 black and white blocks on a moving, colored texture.

16 blocks are the bits of the number, 16 are their CRC. The blocks survive lossy codecs, JPEG, 4:2:0 and a reduction to
64 pixels; a picture that is turned, mirrored, cut off or blended from two gives no number.
"""

from __future__ import annotations

import binascii
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Rgb = npt.NDArray[np.uint8]

MOVING_PIXELS = 3
BLOCK_SHARE, READ_SHARE = 0.6, 0.3
DARK, BRIGHT = 85, 170


def picture(width: int, height: int, number: int) -> Rgb:
    """The upright picture of a number from 0 to 65,535 before any encoding, shape (height, width, 3)."""
    shift = number * MOVING_PIXELS % width
    rgb = _texture(2 * width, height)[:, shift : shift + width].copy()
    word = _word(number)
    for bit, (left, top, right, bottom) in enumerate(_cells(width, height, BLOCK_SHARE)):
        rgb[top:bottom, left:right] = 255 * (word >> bit & 1)
    return rgb


def read_number(rgb: Rgb) -> int | None:
    """The number in an upright picture, shape (height, width, 3); None when the pattern is not certain."""
    height, width = rgb.shape[:2]
    blocks = (rgb[top:bottom, left:right] for left, top, right, bottom in _cells(width, height, READ_SHARE))
    # numpy's `mean` takes three times as long for so few pixels.
    levels = [int(np.add.reduce(block, axis=None)) / block.size for block in blocks]
    if any(DARK < level < BRIGHT for level in levels):
        return None
    word = sum(1 << bit for bit, level in enumerate(levels) if level >= BRIGHT)
    number = word & 0xFFFF
    return number if _word(number) == word else None


def read_image(path: Path) -> Rgb:
    """An image file as RGB, shape (height, width, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _word(number: int) -> int:
    return number | binascii.crc_hqx(number.to_bytes(2, "big"), 0xFFFF) << 16


@lru_cache(maxsize=64)
def _cells(width: int, height: int, share: float) -> tuple[tuple[int, int, int, int], ...]:
    """Pixels (left, top, right, bottom) of the middle `share` of each of the 32 cells, row by row."""
    columns, rows = (8, 4) if width >= height else (4, 8)
    across = [_middle(column, width / columns, share) for column in range(columns)]
    down = [_middle(row, height / rows, share) for row in range(rows)]
    return tuple((left, top, right, bottom) for top, bottom in down for left, right in across)


def _middle(index: int, size: float, share: float) -> tuple[int, int]:
    """The middle of one cell along one side, at least one pixel."""
    center = (index + 0.5) * size
    first = round(center - size * share / 2)
    return first, max(first + 1, round(center + size * share / 2))


@lru_cache(maxsize=4)
def _texture(width: int, height: int) -> Rgb:
    """Colored noise at three scales with values from 70 to 185, wide enough to be moved under the picture."""
    random = np.random.default_rng(width * 10_007 + height)
    total = np.zeros((height, width, 3), np.uint16)
    for scale, weight in ((4, 30), (16, 30), (64, 40)):
        small = random.integers(0, 256, (height // scale + 2, width // scale + 2, 3), dtype=np.uint8)
        layer = Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)
        total += np.asarray(layer, np.uint16) * np.uint16(weight)
    return (70 + total // 222).astype(np.uint8)

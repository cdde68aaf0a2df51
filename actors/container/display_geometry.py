"""From coded pixels to the picture as it is displayed: pixel aspect ratio, display matrix, size. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class DisplayGeometry:
    """pixel_aspect: width of a pixel over its height. mirrored: left and right change places, then the picture is
    turned clockwise by quarter_turns · 90 degrees."""

    pixel_aspect: Fraction = Fraction(1)
    quarter_turns: int = 0
    mirrored: bool = False

    @property
    def turned(self) -> bool:
        """Whether width and height change places."""
        return self.quarter_turns % 2 == 1

    def image_size(self, width: int, height: int, max_side: int | None = None) -> tuple[int, int]:
        """(width, height) of the displayed picture of coded width × height pixels; rounded once, half up."""
        wide, high = width * self.pixel_aspect, Fraction(height)
        shrink = min(Fraction(1), max_side / max(wide, high)) if max_side else Fraction(1)
        sides = [max(1, int((side * shrink + Fraction(1, 2)) // 1)) for side in (wide, high)]
        return (sides[1], sides[0]) if self.turned else (sides[0], sides[1])


def geometry(pixel_aspect: Fraction | None, matrix: tuple[int, ...] | None) -> DisplayGeometry:
    """Reads a display matrix as FFmpeg keeps it: nine numbers, row by row, (x, y, 1) · matrix; y goes down.

    An angle between quarter turns counts as the nearest one.
    """
    aspect = pixel_aspect if pixel_aspect and pixel_aspect > 0 else Fraction(1)
    if matrix is None:
        return DisplayGeometry(aspect)
    a, b, _, c, d, *_ = matrix
    mirrored = a * d - b * c < 0
    x, y = (-a, -b) if mirrored else (a, b)
    if abs(x) >= abs(y):
        return DisplayGeometry(aspect, 2 if x < 0 else 0, mirrored)
    return DisplayGeometry(aspect, 1 if y > 0 else 3, mirrored)

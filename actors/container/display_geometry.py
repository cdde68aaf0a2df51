"""From coded pixels to the displayed picture: pixel aspect ratio, display matrix, size. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class DisplayGeometry:
    """pixel_aspect: width of a pixel divided by its height. mirrored: the picture is flipped left to right first.
    quarter_turns: then it is rotated clockwise by so many times 90 degrees."""

    pixel_aspect: Fraction = Fraction(1)
    quarter_turns: int = 0
    mirrored: bool = False

    @property
    def is_transposed(self) -> bool:
        """Whether the rotation exchanges width and height."""
        return self.quarter_turns % 2 == 1

    def image_size(self, width: int, height: int, max_side: int | None = None) -> tuple[int, int]:
        """(width, height) of the displayed picture of coded width × height pixels; rounded once, half up."""
        wide, high = width * self.pixel_aspect, Fraction(height)
        scale = min(Fraction(1), max_side / max(wide, high)) if max_side else Fraction(1)
        sides = [max(1, int((side * scale + Fraction(1, 2)) // 1)) for side in (wide, high)]
        return (sides[1], sides[0]) if self.is_transposed else (sides[0], sides[1])


def display_geometry(pixel_aspect: Fraction | None, matrix: tuple[int, ...] | None) -> DisplayGeometry:
    """The geometry that a display matrix describes. matrix: nine numbers in FFmpeg's order, row by row, for
    (x, y, 1) · matrix, where y points down.

    A rotation between two quarter turns counts as the nearest one.
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

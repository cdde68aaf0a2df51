"""Displayed size and orientation of a frame."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.container.display_geometry import DisplayGeometry, display_geometry

ONE = 65_536


def matrix(a: int, b: int, c: int, d: int) -> tuple[int, ...]:
    return (a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize(
    ("numbers", "turns", "mirrored"),
    [
        ((1, 0, 0, 1), 0, False),
        ((0, 1, -1, 0), 1, False),
        ((-1, 0, 0, -1), 2, False),
        ((0, -1, 1, 0), 3, False),
        ((-1, 0, 0, 1), 0, True),
        ((1, 0, 0, -1), 2, True),
        ((0, 1, 1, 0), 3, True),
        ((0, -1, -1, 0), 1, True),
    ],
)
def test_each_of_eight_orientations_is_read_from_its_matrix(
    numbers: tuple[int, int, int, int], turns: int, mirrored: bool
) -> None:
    assert display_geometry(None, matrix(*numbers)) == DisplayGeometry(Fraction(1), turns, mirrored)


def test_without_matrix_and_pixel_aspect_the_size_is_unchanged() -> None:
    assert display_geometry(None, None) == display_geometry(Fraction(0), None) == DisplayGeometry()


def test_size_applies_pixel_aspect_then_rotation_then_the_bound() -> None:
    anamorphic = DisplayGeometry(Fraction(64, 45), quarter_turns=1)
    assert anamorphic.image_size(720, 576) == (576, 1024)
    assert anamorphic.image_size(720, 576, 100) == (56, 100)


def test_half_a_pixel_rounds_up_and_a_side_is_at_least_one() -> None:
    assert DisplayGeometry().image_size(200, 101, 100) == (100, 51)
    assert DisplayGeometry().image_size(10_000, 10, 16) == (16, 1)


@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(16, 8000))
def test_bound_never_enlarges(width: int, height: int, side: int) -> None:
    wide, high = DisplayGeometry().image_size(width, height, side)
    assert max(wide, high) == min(side, max(width, height))
    assert wide <= width
    assert high <= height

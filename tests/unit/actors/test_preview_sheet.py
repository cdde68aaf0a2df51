"""The preview: written seldom, whole, and only when it shows something new."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np

from actors.engine.contact_sheet import ContactSheet, cell_for
from actors.engine.plan_file import TimeScale
from actors.engine.preview_sheet import FIRST_SECONDS, PreviewSheet
from actors.extraction_types import preview_files
from actors.images.frame_arrays import YuvPlanes

SECONDS = 5.0
PTS = list(range(0, 100, 10))
GRAY = YuvPlanes(160, 90, np.zeros((90, 160), np.uint8), *(np.full((45, 80), 128, np.uint8) for _ in "uv"))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make_preview(folder: Path, clock: Clock, seconds: float = SECONDS) -> tuple[ContactSheet, PreviewSheet]:
    sheet = ContactSheet(folder, cell_for(320, 180), len(PTS))
    scale = TimeScale(Fraction(1, 10), 0, Fraction(10))
    return sheet, PreviewSheet(folder, sheet, PTS, scale, seconds, clock=clock)


def test_preview_is_written_at_most_once_in_its_period(tmp_path: Path) -> None:
    clock = Clock()
    sheet, preview = make_preview(tmp_path, clock)
    written = []
    for n in range(10):
        sheet.add(GRAY, Fraction(n))
        preview.update(n + 1, PTS[n])
        written.append(preview.frames)
        clock.now += 1.0
    first, second = int(FIRST_SECONDS), int(FIRST_SECONDS + SECONDS)
    assert written == [0] * first + [first + 1] * (second - first) + [second + 1] * (10 - second)


def test_preview_without_a_new_picture_is_not_written_again(tmp_path: Path) -> None:
    clock = Clock()
    sheet, preview = make_preview(tmp_path, clock)
    preview.update(1, 3)
    clock.now = 100.0
    preview.update(2, 4)
    assert preview.frames == 0
    sheet.add(GRAY, Fraction(1))
    preview.update(3, 10)
    clock.now = 200.0
    preview.update(4, 13)
    assert preview.frames == 3
    assert {path.name for path in tmp_path.iterdir()} == set(preview_files(3))


def test_nothing_is_written_when_no_previews_are_asked_for(tmp_path: Path) -> None:
    clock = Clock()
    sheet, preview = make_preview(tmp_path, clock, math.inf)
    clock.now = 1e6
    sheet.add(GRAY, Fraction(0))
    preview.update(1, 0)
    assert (preview.frames, list(tmp_path.iterdir())) == (0, [])


def test_last_picture_of_the_index_ends_where_the_next_one_is_going_to_begin(tmp_path: Path) -> None:
    clock = Clock()
    sheet, preview = make_preview(tmp_path, clock)
    clock.now = FIRST_SECONDS
    sheet.add(GRAY, Fraction(0))
    preview.update(4, 7)
    assert "00:00:00.000 --> 00:00:01.000" in (tmp_path / preview_files(4)[1]).read_text()

"""Previews: while a result is made, a contact sheet of exactly the images so far can be read beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actors.engine.contact_sheet import MAX_CELLS
from actors.engine.extract import extract, extract_or_split
from actors.engine.extract_segment import extract_segment
from actors.extraction_types import (
    PLAN_FILE,
    RESULT_FILES,
    SEGMENT_FILES,
    EngineOptions,
    Progress,
    ProgressEvent,
    Split,
    preview_files,
)
from db.values.frame_spec import parse
from tests.support.videos.clips import ClipByName, ClipTruth, read_number

ALL = parse('{"sample": {"mode": "all"}}')
PREVIEWS = EngineOptions(preview_seconds=0.0)
ENGINE = "auto/test"
CELL = re.compile(r"(\d+):(\d+):(\d+\.\d+) --> (\d+):(\d+):(\d+\.\d+)\nsheet\.jpg#xywh=(\d+),(\d+),(\d+),(\d+)\n")


def read_preview(folder: Path, frames: int) -> list[tuple[int | None, float, float]]:
    """The number of the picture in each cell, with the times that the index gives."""
    sheet_name, index_name = preview_files(frames)
    with Image.open(folder / sheet_name) as opened:
        sheet = np.asarray(opened.convert("RGB"))
    cells = []
    for cell in CELL.findall((folder / index_name).read_text(encoding="ascii")):
        start, stop = (int(cell[at]) * 3600 + int(cell[at + 1]) * 60 + float(cell[at + 2]) for at in (0, 3))
        x, y, width, height = map(int, cell[6:])
        cells.append((read_number(sheet[y : y + height, x : x + width]), start, stop))
    return cells


def expected_cells(truth: ClipTruth, first: int, stop: int) -> list[tuple[int | None, float, float]]:
    times = [*(float(time) for time in truth.times), float(truth.duration)]
    return [(truth.numbers[n], times[n], times[n + 1]) for n in range(first, stop)]


def assert_same_cells(
    cells: list[tuple[int | None, float, float]], expected: list[tuple[int | None, float, float]]
) -> None:
    assert [number for number, _, _ in cells] == [number for number, _, _ in expected]
    np.testing.assert_allclose([cell[1:] for cell in cells], [cell[1:] for cell in expected], atol=0.001)


def check_each(folder: Path, truth: ClipTruth, first: int, checked: list[int]) -> Callable[[ProgressEvent], None]:
    """Reads every 7th preview at the moment it is announced. first: the position of the first image."""

    def on_progress(event: ProgressEvent) -> None:
        if isinstance(event, Progress):
            assert event.preview_frames == event.frames_done
            assert {path.name for path in folder.glob("preview*")} == set(preview_files(event.frames_done))
            if event.frames_done % 7 == 1:
                assert_same_cells(
                    read_preview(folder, event.frames_done), expected_cells(truth, first, first + event.frames_done)
                )
                checked.append(event.frames_done)

    return on_progress


@pytest.mark.parametrize("threads", [1, 2])
def test_preview_shows_exactly_the_images_so_far_with_their_times(
    clips: ClipByName, tmp_path: Path, threads: int
) -> None:
    source, truth = clips("h264_b_frames")
    plain, previewed, checked = tmp_path / "plain", tmp_path / "previewed", list[int]()
    plain.mkdir()
    previewed.mkdir()
    assert len(truth.shown) <= MAX_CELLS
    options = EngineOptions(threads=threads, preview_seconds=0.0)
    extract(source, ALL, previewed, options=options, on_progress=check_each(previewed, truth, 0, checked))
    assert len(checked) == math.ceil(len(truth.shown) / 7)
    extract(source, ALL, plain)
    assert {path.name for path in plain.iterdir()} == set(RESULT_FILES)
    for name in set(RESULT_FILES) - {"report.json"}:
        assert (previewed / name).read_bytes() == (plain / name).read_bytes(), name


def test_preview_of_a_segment_shows_the_images_of_that_segment(clips: ClipByName, tmp_path: Path) -> None:
    source, truth = clips("h264_b_frames")
    split = extract_or_split(
        source, ALL, tmp_path, max_task_seconds=1e-6, engine=ENGINE, options=PREVIEWS, on_progress=lambda event: None
    )
    assert isinstance(split, Split)
    segment, checked = split.segments[1], list[int]()
    folders = [tmp_path / name for name in ("previewed", "plain")]
    for folder in folders:
        folder.mkdir()
        is_plain = folder.name == "plain"
        extract_segment(
            source,
            tmp_path / PLAN_FILE,
            segment,
            ALL,
            folder,
            engine=ENGINE,
            options=EngineOptions() if is_plain else PREVIEWS,
            on_progress=(lambda event: None) if is_plain else check_each(folder, truth, segment.first, checked),
        )
    assert checked
    assert {path.name for path in folders[1].iterdir()} == set(SEGMENT_FILES)
    for name in set(SEGMENT_FILES) - {"segment.json"}:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name

"""The contact sheet: each picture is at the position and time that the index gives."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame
from PIL import Image

from actors.container.display_geometry import DisplayGeometry
from actors.engine.contact_sheet import MAX_CELLS, ContactSheet, ThumbnailCell, ThumbnailScaler, cell_for, sheet_targets
from actors.images.image_encoder import ImageEncoder
from actors.plan.frame_selection import Target
from db.values.frame_spec import Image as ImageSpec
from db.values.frame_spec import ImageFormat


def plain_frame(color: tuple[int, int, int], width: int = 320, height: int = 180) -> VideoFrame:
    return VideoFrame.from_ndarray(np.full((height, width, 3), color, np.uint8), format="rgb24")


def write_sheet(
    folder: Path, frames: list[VideoFrame], cell: ThumbnailCell, image_format: ImageFormat = ImageFormat.JPEG
) -> None:
    encoder, scaler = ImageEncoder(DisplayGeometry(), ImageSpec(image_format)), ThumbnailScaler(cell, image_format)
    sheet = ContactSheet(folder, cell, len(frames))
    for n, frame in enumerate(frames):
        sheet.add(scaler.scale(encoder.encode(frame).picture), Fraction(n, 2))
    sheet.finish(Fraction(len(frames), 2))


def read_sheet(folder: Path) -> Image.Image:
    return Image.open(io.BytesIO((folder / "sheet.jpg").read_bytes())).convert("RGB")


@pytest.mark.parametrize("image_format", ImageFormat)
def test_each_picture_is_in_its_cell_with_its_colors(image_format: ImageFormat, tmp_path: Path) -> None:
    colors = [(200, 30 + 15 * n, 220 - 15 * n) for n in range(13)]
    write_sheet(tmp_path, [plain_frame(color) for color in colors], cell_for(320, 180), image_format)
    sheet = np.asarray(read_sheet(tmp_path))
    assert sheet.shape == (180, 1600, 3)
    for n, color in enumerate(colors):
        y, x = n // 10 * 90, n % 10 * 160
        assert np.abs(sheet[y + 8 : y + 82, x + 8 : x + 152].mean(axis=(0, 1)) - color).max() < 5


def test_index_gives_position_and_time_of_each_picture(tmp_path: Path) -> None:
    write_sheet(tmp_path, [plain_frame((9, 9, 9))] * 11, cell_for(320, 180))
    cues = (tmp_path / "sheet.vtt").read_text().split("\n\n")
    assert cues[0] == "WEBVTT"
    assert cues[1] == "00:00:00.000 --> 00:00:00.500\nsheet.jpg#xywh=0,0,160,90"
    assert cues[11] == "00:00:05.000 --> 00:00:05.500\nsheet.jpg#xywh=0,90,160,90\n"


@pytest.mark.parametrize(("frames", "expected"), [(1, 1), (2, 2), (100, 100), (101, 100), (5000, 100)])
def test_at_most_a_hundred_pictures_are_selected_from_first_to_last(frames: int, expected: int) -> None:
    targets = [Target(index, index, False) for index in range(frames)]
    selected = sheet_targets(targets)
    assert len({target.index for target in selected}) == len(selected) == expected <= MAX_CELLS
    assert (selected[0], selected[-1]) == (targets[0], targets[-1])
    steps = np.diff([target.index for target in selected])
    assert not len(steps) or steps.max() - steps.min() <= 1


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (64, 48), (17, 33), (4000, 3), (3, 4000), (1, 1)])
def test_picture_of_any_shape_fits_into_its_cell(size: tuple[int, int], tmp_path: Path) -> None:
    cell = cell_for(*size)
    width, height = cell.fit(*size)
    assert cell.width % 2 == cell.height % 2 == 0
    assert 0 < width <= min(cell.width, size[0])
    assert 0 < height <= min(cell.height, size[1])
    write_sheet(tmp_path, [plain_frame((200, 200, 200), *size)] * 2, cell)
    assert read_sheet(tmp_path).size == (2 * cell.width, cell.height)


def test_sheet_with_missing_pictures_ends_after_its_last_row(tmp_path: Path) -> None:
    cell = cell_for(320, 180)
    sheet, scaler = ContactSheet(tmp_path, cell, 25), ThumbnailScaler(cell, ImageFormat.JPEG)
    for n in range(3):
        sheet.add(
            scaler.scale(ImageEncoder(DisplayGeometry(), ImageSpec()).encode(plain_frame((n, n, n))).picture),
            Fraction(n),
        )
    sheet.finish(Fraction(3))
    assert read_sheet(tmp_path).size == (1600, 90)

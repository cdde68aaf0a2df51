"""Scene detection: color values equal those of OpenCV, and cuts follow from the frames that differ."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from actors.engine.scene_detection import MIN_SCENE_FRAMES, find_cuts, hsv


def cuts_of(differing: set[int], frames: int = 200) -> list[int]:
    return list(find_cuts((index, index in differing) for index in range(frames)))


def test_hsv_equals_opencv() -> None:
    rgb = np.random.default_rng(5).integers(0, 256, (300, 400, 3), np.uint8)
    expected_hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).astype(np.int16)
    difference = np.abs(hsv(rgb) - expected_hsv)
    difference[..., 0] = np.minimum(difference[..., 0], 180 - difference[..., 0])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.02


def test_gray_has_zero_hue_and_saturation() -> None:
    gray = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=-1)
    assert not hsv(gray)[..., :2].any()


def test_every_large_difference_is_a_cut_when_shots_are_long_enough() -> None:
    assert cuts_of({15, 40, 100}) == [15, 40, 100]


def test_no_cut_before_the_minimum_shot_length() -> None:
    assert cuts_of({MIN_SCENE_FRAMES - 1}) == []


@pytest.mark.parametrize(("flashes", "expected"), [({50, 52, 60, 67}, [50, 67]), ({50, 52}, [50])])
def test_lasting_flicker_after_a_cut_gives_one_cut_at_its_end(flashes: set[int], expected: list[int]) -> None:
    # As in PySceneDetect: a flicker that is shorter than a shot is no cut unless later differences lengthen it.
    assert cuts_of(flashes) == expected


def test_no_frames_give_no_cuts() -> None:
    assert list(find_cuts([])) == []

"""The first frames of shots in a clip with known cuts, by every reader."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from actors.engine.extract import extract
from actors.extraction_types import DetectingScenes, EngineOptions, Planned, Progress
from db.values.frame_spec import parse

SHOTS = [0, 20, 47, 90]
FRAMES = 120
WIDTH, HEIGHT = 320, 180
SCENES = '{"sample": {"mode": "scenes"}}'


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shots at 25 frames a second, each a moving pattern in its own color."""
    path = tmp_path_factory.mktemp("scenes") / "film.mp4"
    colors = np.random.default_rng(1).permutation([[230, 40, 40], [40, 220, 60], [60, 60, 235], [220, 220, 40]])
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "20", "g": "30", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(FRAMES):
            shot = int(np.searchsorted(SHOTS, index, side="right")) - 1
            wave = 0.75 + 0.25 * np.sin((x + 2 * index) / 13 + y / (7 + shot))
            rgb = (wave[..., None] * colors[shot]).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def indexes(out: Path) -> list[int]:
    return [frame["index"] for frame in json.loads((out / "manifest.json").read_text())["frames"]]


@pytest.mark.parametrize("options", [EngineOptions(), EngineOptions(threads=2), EngineOptions(sequential=True)])
def test_first_frame_of_every_shot_is_selected_by_every_reader(
    film: Path, options: EngineOptions, tmp_path: Path
) -> None:
    extract(film, parse(SCENES), tmp_path, options=options)
    assert indexes(tmp_path) == SHOTS


def test_first_shot_of_a_range_starts_at_the_range(film: Path, tmp_path: Path) -> None:
    extract(film, parse('{"sample": {"mode": "scenes"}, "range": {"start": 1.2, "end": 3.6}}'), tmp_path)
    assert indexes(tmp_path) == [30, 47]


def test_highest_threshold_gives_one_shot(film: Path, tmp_path: Path) -> None:
    extract(film, parse('{"sample": {"mode": "scenes", "threshold": 100}}'), tmp_path)
    assert indexes(tmp_path) == [0]


def test_scene_detection_is_reported_before_the_plan(film: Path, tmp_path: Path) -> None:
    events: list[DetectingScenes | Planned | Progress] = []
    extract(film, parse(SCENES), tmp_path, on_progress=events.append)
    assert [type(event) for event in events] == [DetectingScenes, Planned, *[Progress] * 4]
    assert isinstance(events[0], DetectingScenes)
    assert events[0].frames_to_decode == FRAMES
    assert events[0].media.duration == float(Fraction(FRAMES, 25))

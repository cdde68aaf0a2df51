"""The clips of `fotograma samples` are what they are said to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import fotograma
from cluster.cli.app import app
from cluster.local.sample_clips import SAMPLES

SPEC = {"sample": {"mode": "fps", "fps": 2}, "image": {"max_side": 64}}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples") / "clips"
    done = CliRunner().invoke(app, ["samples", str(folder)])
    assert done.exit_code == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [str(folder / name) for name in SAMPLES]
    return folder


def manifest(clip: Path, out: Path) -> dict[str, Any]:
    fotograma.extract(clip, SPEC, out)
    return dict(json.loads((out / "manifest.json").read_text()))


def test_clock_has_a_constant_frame_rate(clips: Path, tmp_path: Path) -> None:
    made = manifest(clips / "clock.mp4", tmp_path)
    assert (made["video"]["frames"], made["video"]["variable_frame_rate"], made["warnings"]) == (200, False, [])
    assert len(made["frames"]) == 16


def test_phone_has_a_variable_frame_rate_and_is_turned_upright(clips: Path, tmp_path: Path) -> None:
    made = manifest(clips / "phone.mp4", tmp_path)
    assert (made["video"]["frames"], made["video"]["variable_frame_rate"], made["warnings"]) == (100, True, [])
    assert made["video"]["rotation"] == 90
    assert {(frame["width"], frame["height"]) for frame in made["frames"]} == {(36, 64)}


def test_damaged_clip_lacks_frames_and_says_so(clips: Path, tmp_path: Path) -> None:
    made = manifest(clips / "damaged.mp4", tmp_path)
    assert {warning["code"] for warning in made["warnings"]} == {"damaged", "frames_missing"}
    assert 0 < len(made["frames"]) < 16


def test_clips_that_are_there_stay_as_they_are(clips: Path) -> None:
    (clips / "phone.mp4").write_bytes(b"mine")
    assert CliRunner().invoke(app, ["samples", str(clips)]).exit_code == 0
    assert (clips / "phone.mp4").read_bytes() == b"mine"

"""The options that say which frames are wanted, and what is said about wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from cluster.cli.spec_options import SpecOptions
from cluster.cli.spec_resolution import text_of_options
from db.values.frame_spec import parse


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ({"fps": "29.970"}, '{"sample":{"mode":"fps","fps":29.970}}'),
        ({"mode": "fps"}, '{"sample":{"mode":"fps"}}'),
        ({"every": "0.1s"}, '{"sample":{"mode":"interval","seconds":0.1}}'),
        ({"every": "1:30"}, '{"sample":{"mode":"interval","seconds":90}}'),
        ({"every": "250ms"}, '{"sample":{"mode":"interval","seconds":0.250}}'),
        ({"every": "2", "mode": "interval"}, '{"sample":{"mode":"interval","seconds":2}}'),
        ({"every": "10f"}, '{"sample":{"mode":"every_nth","n":10}}'),
        ({"every": "10th"}, '{"sample":{"mode":"every_nth","n":10}}'),
        ({"every": "10", "mode": "every_nth"}, '{"sample":{"mode":"every_nth","n":10}}'),
        ({"count": 20}, '{"sample":{"mode":"uniform","count":20}}'),
        ({"at": "1.5,10,1:30,1:02:03.25"}, '{"sample":{"mode":"timestamps","at":[1.5,10,90,3723.25]}}'),
        ({"mode": "keyframes"}, '{"sample":{"mode":"keyframes"}}'),
        ({"threshold": "30"}, '{"sample":{"mode":"scenes","threshold":30}}'),
        ({"mode": "scenes"}, '{"sample":{"mode":"scenes"}}'),
        ({"mode": "all"}, '{"sample":{"mode":"all"}}'),
        ({"range": "10-20"}, '{"range":{"start":10,"end":20}}'),
        ({"range": "1:30-"}, '{"range":{"start":90,"end":null}}'),
        ({"range": "-2m"}, '{"range":{"end":120}}'),
        (
            {"format": "webp", "quality": 80, "max_side": 640, "names": "index", "snap": "keyframe", "max_frames": 9},
            '{"image":{"format":"webp","quality":80,"max_side":640,"names":"index"},"snap":"keyframe","max_frames":9}',
        ),
        ({"spec": '{"max_frames": 2}'}, '{"max_frames": 2}'),
        ({}, None),
    ],
)
def test_options_become_a_specification(options: dict[str, Any], spec: str | None) -> None:
    text = text_of_options(SpecOptions(**options))
    assert text == spec or (text is not None and spec is not None and json.loads(text) == json.loads(spec))
    if text is not None:
        parse(text)


def test_every_digit_of_a_number_is_kept() -> None:
    assert text_of_options(SpecOptions(fps="29.970")) == '{"sample":{"mode":"fps","fps":29.970}}'


@pytest.mark.parametrize(
    ("options", "option", "detail"),
    [
        ({"fps": "fast"}, "--fps", "'fast' is not a number, such as 2 or 0.5."),
        ({"fps": "0"}, "--fps", "It must be greater than 0."),
        ({"fps": "1e999"}, "--fps", "'1e999' is not a number, such as 2 or 0.5."),
        ({"every": "5"}, "--every", "Write 5s for every 5 seconds, or 5f for every 5th frame."),
        ({"every": "often"}, "--every", "'often' is not a time such as 5s or 1m, or frames such as 10f."),
        ({"every": "0f"}, "--every", "It must be from 1 to 1000000000."),
        ({"count": 0}, "--count", "It must be from 1 to 1000000000."),
        ({"at": "1,soon"}, "--at", "'soon' is not times such as 1.5,10,1:30."),
        ({"threshold": "101"}, "--threshold", "It must be from 0 to 100."),
        ({"range": "10"}, "--range", "'10' is not a range such as 10-20, 1:30-2:00, 10- or -20."),
        ({"range": "-"}, "--range", "'-' is not a range such as 10-20"),
        ({"range": "20-10"}, "--range", "It must be greater than range.start."),
        ({"quality": 101}, "--quality", "It must be from 1 to 100."),
        ({"max_side": 1}, "--max-side", "It must be from 16 to 65535."),
        ({"max_frames": 0}, "--max-frames", "It must be from 1 to 1000000000."),
        ({"mode": "interval"}, "--mode", "needs --every, such as --every 5s."),
        ({"mode": "every_nth"}, "--mode", "needs --every, such as --every 10f."),
        ({"mode": "uniform"}, "--mode", "needs --count, such as --count 20."),
        ({"mode": "timestamps"}, "--mode", "needs --at, such as --at 1.5,10,1:30."),
        ({"mode": "keyframes", "fps": "1"}, None, "--fps belongs to --mode fps, not to --mode keyframes."),
        ({"fps": "1", "count": 2}, None, "--fps and --count choose different frames. Give one of them."),
        ({"fps": "1", "spec": "{}"}, None, "--spec is a whole specification. Leave out --fps, or --spec."),
        ({"spec": "{"}, "--spec", "Give an object, such as"),
        ({"spec": "@missing.json"}, "--spec", "missing.json can't be read"),
        ({"spec": '{"image": {"quality": 0}}'}, "--spec", "image.quality must be from 1 to 100."),
    ],
)
def test_wrong_value_is_named_with_what_would_be_right(
    options: dict[str, Any], option: str | None, detail: str
) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        text_of_options(SpecOptions(**options))
    assert (refused.value.param_hint, detail in refused.value.message) == (option, True), refused.value.message

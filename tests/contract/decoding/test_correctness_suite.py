"""The engine against the slow reference, over codecs × containers × features of a video × modes.

Each clip is made, read by `tests.support.videos.reference_selection`, and extracted by many specifications. For each
frame the index, time and key flag in the manifest and the number in the image's pixels must be those of the reference.
By default a covering subset runs, in which every pair of codec, container, feature, mode and constraint occurs;
FOTOGRAMA_SUITE=full runs all combinations. The terminal summary shows the number of cases (a case is one specification
over one clip).
"""

from __future__ import annotations

import json
import os
import zipfile
from fractions import Fraction
from itertools import product as every
from pathlib import Path
from typing import Any

import pytest
import simplejpeg

from actors.engine.extract import extract, extract_many
from actors.extraction_types import EngineOptions, Extracted
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import parse
from tests.support.case_counts import CountCases
from tests.support.videos import reference_selection
from tests.support.videos.clip_matrix import ClipKind, all_kinds, covering_kinds
from tests.support.videos.frame_number_pattern import read_number
from tests.support.videos.reference_selection import ReferenceVideo

FULL = os.environ.get("FOTOGRAMA_SUITE") == "full"
KINDS = all_kinds() if FULL else list(covering_kinds(all_kinds()))
MODES = ("fps", "fast_fps", "interval", "uniform", "timestamps", "keyframes", "every_nth", "all")
CONSTRAINTS = ("none", "range", "open_range", "snap", "snap_in_range", "max_frames")
OPTIONS = (EngineOptions(), EngineOptions(threads=2), EngineOptions(sequential=True))
HEADING = "correctness suite, correct cases"


def spec_of(mode: str, constraint: str, end: Fraction) -> dict[str, Any]:
    """A specification whose numbers are decimal strings. end: the end of the video, seconds."""

    def part(share: str) -> str:
        return f"{float(end * Fraction(share)):.4f}"

    samples: dict[str, dict[str, Any]] = {
        "fps": {"fps": "7.3"},
        "fast_fps": {"fps": "1000"},
        "interval": {"seconds": part("0.13")},
        "uniform": {"count": 7},
        "timestamps": {"at": ["-1", "0", part("0.1"), part("0.5"), part("0.5001"), part("0.95"), part("1"), part("9")]},
        "keyframes": {},
        "every_nth": {"n": 3},
        "all": {},
    }
    bounds = {"start": part("0.21"), "end": part("0.77")}
    constraints: dict[str, dict[str, Any]] = {
        "none": {},
        "range": {"range": bounds},
        "open_range": {"range": {"start": part("0.4"), "end": None}},
        "snap": {"snap": "keyframe"},
        "snap_in_range": {"snap": "keyframe", "range": bounds},
        "max_frames": {"max_frames": 3},
    }
    sample = {"mode": "fps" if mode == "fast_fps" else mode} | samples[mode]
    return {"sample": sample} | constraints[constraint]


def text_of(spec: dict[str, Any]) -> str:
    """The specification as JSON, with the decimal strings as numbers."""

    def plain(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ",".join(f'"{name}":{plain(item)}' for name, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(plain, value)) + "]"
        is_number = isinstance(value, str) and value.lstrip("-").replace(".", "", 1).isdigit()
        return value if is_number else json.dumps(value)

    return plain(spec)


def specs_for(clip_number: int, end: Fraction) -> list[dict[str, Any]]:
    """All modes with all constraints; in the covering subset one constraint for each mode, another for each clip."""
    if FULL:
        return [spec_of(mode, constraint, end) for mode, constraint in every(MODES, CONSTRAINTS)]
    return [
        spec_of(mode, CONSTRAINTS[(clip_number + number) % len(CONSTRAINTS)], end) for number, mode in enumerate(MODES)
    ]


def compare(
    expected: reference_selection.ReferenceSelection, truth: ReferenceVideo, result: Extracted, out: Path
) -> None:
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"), parse_float=Fraction)
    frames = manifest["frames"]
    assert [frame["index"] for frame in frames] == expected.indexes
    expected_frames = [truth.frames[index] for index in expected.indexes]
    assert Fraction(*manifest["time_base"]) == truth.time_base
    assert [frame["key"] for frame in frames] == [frame.key for frame in expected_frames]
    assert [frame["pts"] - frames[0]["pts"] for frame in frames] == [
        frame.pts - expected_frames[0].pts for frame in expected_frames
    ]
    assert result.media.container == "avi" or frames[0]["pts"] == expected_frames[0].pts
    assert all(
        abs(frame["time"] - reference.time) <= Fraction(1, 2_000_000)
        for frame, reference in zip(frames, expected_frames, strict=True)
    )
    assert {(frame["width"], frame["height"]) for frame in frames} == {(truth.width, truth.height)}
    with zipfile.ZipFile(out / "frames.zip") as archive:
        images = [simplejpeg.decode_jpeg(archive.read(frame["name"]), "RGB") for frame in frames]
    assert [read_number(image) for image in images] == [frame.number for frame in expected_frames]
    codes = {"times_outside_video"} if expected.outside else set()
    assert {warning.code for warning in result.warnings} == codes | (
        {"max_frames_reached"} if expected.limited else set()
    )


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_image_is_the_frame_of_the_reference(kind: ClipKind, tmp_path: Path, count_cases: CountCases) -> None:
    path, clip = kind.make(tmp_path)
    truth = reference_selection.decode_reference(path, counts_pictures=kind.container == "avi")
    assert [frame.number for frame in truth.frames] == list(range(clip.edit_list, clip.frames - clip.edit_end))
    clip_number = KINDS.index(kind)
    cases = []
    for number, spec in enumerate(specs_for(clip_number, truth.end)):
        expected = truth.select(spec)
        if not expected.indexes:
            with pytest.raises(CatalogueError, match="empty_selection"):
                extract(path, parse(text_of(spec)), tmp_path)
            count_cases(HEADING, 1)
            continue
        out = tmp_path / f"out{number}"
        out.mkdir()
        cases.append((spec, expected, out))
    requests = [(parse(text_of(spec)), out) for spec, _, out in cases]
    results = extract_many(path, requests, options=OPTIONS[clip_number % len(OPTIONS)])
    for (_, expected, out), result in zip(cases, results, strict=True):
        compare(expected, truth, result, out)
        count_cases(HEADING, 1)

"""Estimates compared with results: `python -m benchmarks.estimates [--quick] [--rounds N] [--clips DIR] [--json FILE]`.

Each specification is estimated twice before it is extracted: from the facts of the file alone, and with the number of
its key frames and the result of another specification, as `POST /v1/estimates` does for a stored video. The time of an
extraction is the shortest of all rounds: what other programs add to it is not the subject.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import fotograma
from actors.extraction_types import Extracted
from benchmarks.extract.clips import FPS, ensure_clip, find_clip
from db.values.extraction_estimate import EarlierResult, Estimate, MediaFacts, estimate
from db.values.frame_spec import parse

CLIPS = {"1080p_gop250": "h264", "hevc_10bit": "hevc", "4k_gop60": "h264"}
"""The clips, and the codec of each."""
FIRST = '{"sample":{"mode":"uniform","count":5}}'
SPECS = (
    '{"sample":{"mode":"fps","fps":1}}',
    '{"sample":{"mode":"every_nth","n":20}}',
    '{"sample":{"mode":"fps","fps":2},"image":{"max_side":640}}',
    '{"sample":{"mode":"fps","fps":1},"image":{"quality":75}}',
)

KEY_FRAMES, SCENES = '{"sample":{"mode":"keyframes"}}', '{"sample":{"mode":"scenes"}}'
"""How many images these give is known only from the packets, or from the pictures."""
FIGURES = ("frames", "bytes_from_facts", "bytes", "seconds_from_facts", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="clips of a few seconds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=Path, help="folder for the generated clips")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for name in CLIPS
            for row in rows_of(
                name, options.clips or Path(folder), Path(folder) / "out", options.rounds, quick=options.quick
            )
        ]
    columns = ("clip", "spec", *FIGURES)
    print("| " + " | ".join(columns) + " |\n| --- | --- |" + " ---: |" * len(FIGURES))
    for row in rows:
        figures = " | ".join(f"{row[name]:.2f}" for name in FIGURES)
        print(f"| {row['clip']} | `{row['spec']}`{' (guess)' if row['spec'] == SCENES else ''} | {figures} |")
    print("Each figure is the estimate divided by the result.")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def rows_of(name: str, clips: Path, out: Path, rounds: int, *, quick: bool) -> list[dict[str, Any]]:
    """One row for each specification: estimate divided by result."""
    clip = find_clip(name, quick=quick)
    path, encoding = ensure_clip(clips, clip), clip.encoding
    media = MediaFacts(CLIPS[name], encoding.width, encoding.height, float(clip.seconds), FPS)
    first, seconds = extract(path, FIRST, out / name / "first", rounds)
    # What the service stores of a video that it has probed.
    stored = replace(media, key_frames=first.media.key_frames)
    earlier = EarlierResult(stored, parse(FIRST), first.frames, archive_size(out / name / "first"), seconds, True)
    rows = []
    for number, spec in enumerate((*SPECS, KEY_FRAMES, SCENES)):
        from_facts, with_earlier = estimate(parse(spec), media), estimate(parse(spec), stored, [earlier])
        folder = out / name / str(number)
        extracted, seconds = extract(path, spec, folder, rounds)
        rows.append(row(name, spec, from_facts, with_earlier, extracted.frames, archive_size(folder), seconds))
    return rows


def row(
    name: str, spec: str, from_facts: Estimate, with_earlier: Estimate, frames: int, size: int, seconds: float
) -> dict[str, Any]:
    return {
        "clip": name,
        "spec": spec,
        "frames": with_earlier.frames / frames,
        "bytes_from_facts": from_facts.size / size,
        "bytes": with_earlier.size / size,
        "seconds_from_facts": from_facts.seconds / seconds,
        "seconds": with_earlier.seconds / seconds,
    }


def extract(path: Path, spec: str, folder: Path, rounds: int) -> tuple[Extracted, float]:
    """The result, and how many seconds one thread took in the fastest round."""
    extracted, seconds = _timed(path, spec, folder)
    for number in range(1, rounds):
        seconds = min(seconds, _timed(path, spec, folder.with_name(f"{folder.name}_{number}"))[1])
    return extracted, seconds


def _timed(path: Path, spec: str, folder: Path) -> tuple[Extracted, float]:
    start = time.perf_counter()
    return fotograma.extract(path, spec, folder, threads=1), time.perf_counter() - start


def archive_size(folder: Path) -> int:
    return (folder / "frames.zip").stat().st_size


if __name__ == "__main__":
    main()

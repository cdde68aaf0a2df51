"""Several specifications over one video: one decode pass, and each result equals its single extraction."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from av.video.frame import VideoFrame

from actors.engine.extract import extract, extract_many
from actors.extraction_types import DetectingScenes, EngineOptions, Planned, Progress
from actors.images.image_encoder import EncodedImage, ImageEncoder
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import FrameSpec, parse
from tests.support.videos.clips import ClipByName

SPECS = [
    '{"sample": {"mode": "fps", "fps": 5}}',
    '{"sample": {"mode": "all"}, "image": {"max_side": 64}}',
    '{"sample": {"mode": "uniform", "count": 4}}',
    '{"sample": {"mode": "uniform", "count": 4}, "image": {"names": "index"}}',
    '{"sample": {"mode": "keyframes"}, "image": {"format": "png"}}',
    '{"sample": {"mode": "every_nth", "n": 7}, "image": {"format": "webp", "quality": 60}}',
]
COMPARED_FILES = ("frames.zip", "manifest.json", "manifest.csv", "sheet.jpg", "sheet.vtt")


def digests(folder: Path) -> list[str]:
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in COMPARED_FILES]


def make_requests(folder: Path, specs: list[str]) -> list[tuple[FrameSpec, Path]]:
    folders = [folder / str(n) for n in range(len(specs))]
    for out in folders:
        out.mkdir(parents=True)
    return [(parse(spec), out) for spec, out in zip(specs, folders, strict=True)]


@pytest.mark.parametrize("options", [EngineOptions(), EngineOptions(threads=2), EngineOptions(sequential=True)])
@pytest.mark.parametrize("name", ["h264_b_frames", "vp9_webm", "mpegts", "h264_rotated_90"])
def test_each_result_equals_its_single_extraction(
    name: str, options: EngineOptions, clips: ClipByName, tmp_path: Path
) -> None:
    source, _ = clips(name)
    together = make_requests(tmp_path / "together", SPECS)
    results = extract_many(source, together, options=options)
    for (spec, out), result in zip(together, results, strict=True):
        alone = tmp_path / "alone" / out.name
        alone.mkdir(parents=True)
        assert extract(source, spec, alone) == result
        assert digests(alone) == digests(out)


def test_video_is_decoded_once(clips: ClipByName, tmp_path: Path) -> None:
    source, truth = clips("h264_b_frames")
    extract_many(source, requests := make_requests(tmp_path, SPECS))
    decoded = [json.loads((out / "report.json").read_text())["frames"]["decoded"] for _, out in requests]
    assert decoded == [len(truth.shown)] * len(SPECS)


def test_specifications_that_differ_in_names_only_share_their_images(
    clips: ClipByName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, encoded = ImageEncoder.encode, []

    def encode_and_count(self: ImageEncoder, frame: VideoFrame) -> EncodedImage:
        encoded.append(frame.pts)
        return encode(self, frame)

    monkeypatch.setattr(ImageEncoder, "encode", encode_and_count)
    specs = [f'{{"image": {{"names": "{names}"}}}}' for names in ("time", "number", "index")]
    results = extract_many(clips("h264")[0], make_requests(tmp_path, specs))
    assert [result.frames for result in results] == [2, 2, 2]
    assert len(encoded) == 2


def test_plan_and_progress_count_the_images_of_all_specifications(clips: ClipByName, tmp_path: Path) -> None:
    events: list[DetectingScenes | Planned | Progress] = []
    results = extract_many(clips("h264")[0], make_requests(tmp_path, SPECS), on_progress=events.append)
    images = sum(result.frames for result in results)
    assert isinstance(events[0], Planned)
    assert events[0].frames_total == images
    assert events[-1] == Progress(images)


def test_damaged_frames_are_missing_only_from_specifications_that_select_them(
    clips: ClipByName, tmp_path: Path
) -> None:
    source, _ = clips("h264_b_frames")
    data = bytearray(source.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    damaged = tmp_path / source.name
    damaged.write_bytes(data)
    specs = ['{"sample": {"mode": "all"}}', '{"sample": {"mode": "timestamps", "at": [0]}}']
    whole, first = extract_many(damaged, make_requests(tmp_path / "out", specs))
    assert "frames_missing" in {warning.code for warning in whole.warnings}
    assert first.warnings == ()


def test_one_failing_specification_writes_no_result(clips: ClipByName, tmp_path: Path) -> None:
    requests = make_requests(tmp_path, ['{"sample": {"mode": "all"}}', '{"range": {"start": 1000}}'])
    with pytest.raises(CatalogueError, match="empty_selection"):
        extract_many(clips("h264")[0], requests)
    assert not any(tmp_path.rglob("*.zip"))

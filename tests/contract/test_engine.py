"""The engine: from a file and a specification to an archive, or an error with its fault."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from actors.engine.extract import extract
from actors.extraction_types import ENGINE_VERSION, EngineOptions, Extracted, Planned, Progress, ProgressEvent, Reader
from db.values.error_catalogue import CatalogueError, Fault
from db.values.frame_spec import parse
from tests.support.own_process import command_of
from tests.support.programs import extract_every_frame
from tests.support.videos.clips import (
    CLIPS,
    ClipByName,
    picture,
    read_number,
    truncated_copy,
    write_audio_only,
    write_hls_playlist,
    write_text_file,
)

ALL = '{"sample": {"mode": "all"}}'
RESULTS = {"frames.zip", "manifest.json", "manifest.csv", "report.json", "sheet.jpg", "sheet.vtt"}


class Result:
    def __init__(self, extracted: Extracted, out: Path) -> None:
        self.extracted, self.out = extracted, out
        self.manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        self.report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
        self.codes = [warning.code for warning in extracted.warnings]

    def pictures(self) -> list[NDArray[np.uint8]]:
        with zipfile.ZipFile(self.out / "frames.zip") as file:
            data = [file.read(frame["name"]) for frame in self.manifest["frames"]]
        return [np.asarray(Image.open(io.BytesIO(image)).convert("RGB")) for image in data]

    def numbers(self) -> list[int | None]:
        return [read_number(picture) for picture in self.pictures()]


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(source: Path, spec: str = ALL, **options: Any) -> Result:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        return Result(extract(source, parse(spec), out, options=EngineOptions(**options)), out)

    return run


@pytest.mark.parametrize("reader", [Reader.PYAV, Reader.DECORD])
@pytest.mark.parametrize("name", CLIPS)
def test_every_image_is_the_frame_of_the_manifest_with_rotation_and_aspect_applied(
    name: str, reader: Reader, clips: ClipByName, run: Run
) -> None:
    source, truth = clips(name)
    result = run(source, reader=reader)
    assert result.numbers() == truth.numbers
    assert [frame["index"] for frame in result.manifest["frames"]] == list(range(len(truth.shown)))
    assert [frame["key"] for frame in result.manifest["frames"]] == [shown.key for shown in truth.shown]
    assert {(frame["width"], frame["height"]) for frame in result.manifest["frames"]} == {(truth.width, truth.height)}
    base = Fraction(*result.manifest["time_base"])
    first = result.manifest["frames"][0]["pts"]
    assert [(frame["pts"] - first) * base for frame in result.manifest["frames"]] == truth.times
    assert set(result.codes) <= {"reader_fallback"}


@pytest.mark.parametrize("name", CLIPS)
def test_media_facts_match_the_clip(name: str, clips: ClipByName, run: Run) -> None:
    source, truth = clips(name)
    media = run(source, '{"max_frames": 1}').extracted.media
    assert (media.width, media.height, media.rotation) == (truth.width, truth.height, truth.rotation)
    assert media.frames == len(truth.shown)
    assert media.duration == float(truth.duration)
    assert media.fps_average == float(len(truth.shown) / truth.duration)
    assert media.variable_frame_rate == ("vfr" in name)


@pytest.mark.parametrize("name", ["h264_b_frames", "hevc_open_gop", "vp9_webm", "av1_mp4", "mpegts", "h264_edit_list"])
def test_result_bytes_do_not_depend_on_threads_or_sequential_reading(name: str, clips: ClipByName, run: Run) -> None:
    source, _ = clips(name)
    results = [run(source, **options) for options in ({"threads": 1}, {"threads": 2}, {"sequential": True})]
    assert len({result.extracted.sha256 for result in results}) == 1


def test_reader_auto_is_pyav_on_the_cpu(clips: ClipByName, run: Run) -> None:
    source, _ = clips("h264")
    auto, pyav = run(source), run(source, reader=Reader.PYAV)
    assert auto.report["reader"] == pyav.report["reader"] == "pyav"
    assert auto.extracted.sha256 == pyav.extracted.sha256


def test_result_has_size_hash_and_number_of_its_files(clips: ClipByName, run: Run) -> None:
    result = run(clips("h264")[0], '{"sample": {"mode": "every_nth", "n": 10}}')
    assert {path.name for path in result.out.iterdir()} == RESULTS
    assert result.extracted.bytes == (result.out / "frames.zip").stat().st_size
    assert result.extracted.frames == len(result.manifest["frames"]) == 6


def test_manifest_names_the_video_by_its_bytes_alone(clips: ClipByName, run: Run, tmp_path: Path) -> None:
    source, truth = clips("h264_anamorphic_rotated")
    result = run(source)
    assert result.manifest["version"] == 2
    assert result.manifest["video"] == {
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "size": source.stat().st_size,
        "container": "mp4",
        "codec": "h264",
        "width": truth.width,
        "height": truth.height,
        "rotation": truth.rotation,
        "duration": float(truth.duration),
        "frames": len(truth.shown),
        "fps_average": float(len(truth.shown) / truth.duration),
        "variable_frame_rate": False,
    }
    renamed = shutil.copyfile(source, tmp_path / "another name.mov")
    assert run(renamed).extracted.sha256 == result.extracted.sha256


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("time", ["frame_000001_t000000.000.jpg", "frame_000002_t000001.000.jpg"]),
        ("number", ["frame_000001.jpg", "frame_000002.jpg"]),
        ("index", ["frame_000000.jpg", "frame_000030.jpg"]),
    ],
)
def test_images_are_named_as_the_specification_says(
    names: str, expected: list[str], clips: ClipByName, run: Run
) -> None:
    result = run(clips("h264")[0], f'{{"image": {{"names": "{names}"}}}}')
    assert [frame["name"] for frame in result.manifest["frames"]] == expected
    assert result.manifest["spec"]["image"]["names"] == names
    assert result.numbers() == [0, 30]


def test_report_has_reader_and_engine(clips: ClipByName, run: Run) -> None:
    report = run(clips("h264")[0], '{"sample": {"mode": "timestamps", "at": [0, 1]}}', reader=Reader.DECORD).report
    assert (report["reader"], report["engine_version"], report["fallbacks"]) == ("decord", ENGINE_VERSION, [])
    assert report["frames"] == {"table": 60, "planned": 2, "decoded": 2, "given": 2, "missing": 0, "repeated": 0}
    assert {"av", "decord2", "ffmpeg"} <= set(report["libraries"])
    assert {"probe", "read", "encode", "archive"} <= set(report["seconds"])


def test_plan_is_reported_before_the_first_image_and_progress_after_each(clips: ClipByName, tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    extract(clips("h264")[0], parse('{"sample": {"mode": "every_nth", "n": 20}}'), tmp_path, on_progress=events.append)
    assert isinstance(events[0], Planned)
    assert events[0].frames_total == 3
    assert events[1:] == [Progress(1), Progress(2), Progress(3)]


def test_unsupported_video_replaces_decord_with_a_warning(clips: ClipByName, run: Run) -> None:
    result = run(clips("mpegts")[0], reader=Reader.DECORD)
    assert result.codes == ["reader_fallback"]
    assert result.manifest["warnings"][0]["code"] == "reader_fallback"
    assert "mpegts" in result.report["fallbacks"][0]["reason"]
    assert result.report["reader"] == "pyav"


def test_size_is_bounded_by_one_resize_after_rotation_and_pixel_aspect(clips: ClipByName, run: Run) -> None:
    source, truth = clips("h264_anamorphic_rotated")
    result = run(source, '{"sample": {"mode": "all"}, "image": {"max_side": 96}}')
    assert {(frame["width"], frame["height"]) for frame in result.manifest["frames"]} == {(56, 96)}
    assert result.numbers() == truth.numbers


def test_higher_quality_gives_larger_images(clips: ClipByName, run: Run) -> None:
    source, _ = clips("h264")
    sizes = [run(source, f'{{"image": {{"quality": {quality}}}}}').extracted.bytes for quality in (10, 90)]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    "name", ["h264", "h264_full_range", "h264_bt709", "h264_bt709_full_range", "h264_10_bit", "h264_444", "hevc"]
)
@pytest.mark.parametrize("max_side", ["null", "97"])
def test_image_colors_equal_those_of_the_encoded_picture(name: str, max_side: str, clips: ClipByName, run: Run) -> None:
    spec = f'{{"image": {{"quality": 100, "max_side": {max_side}}}, "max_frames": 1}}'
    expected = np.asarray(Image.fromarray(picture(192, 112, 0)))
    result = run(clips(name)[0], spec).pictures()[0]
    if max_side != "null":
        expected = np.asarray(Image.fromarray(expected).resize((97, 57), Image.Resampling.BICUBIC))
    difference = result.astype(int) - expected.astype(int)
    assert np.abs(difference.mean(axis=(0, 1))).max() < 2


def test_truncated_file_with_index_gives_certain_frames_and_a_warning(clips: ClipByName, run: Run) -> None:
    source, truth = clips("h264_b_frames")
    result = run(truncated_copy(source))
    assert "truncated" in result.codes
    assert result.numbers() == truth.numbers[: result.extracted.frames]
    assert 0 < result.extracted.frames < len(truth.shown)


@pytest.mark.parametrize("keep", [0.4, 0.7, 0.95])
@pytest.mark.parametrize("name", ["mkv", "vp9_webm", "mpegts", "flv", "mpeg4_avi", "wmv", "h264_fragmented"])
def test_truncated_file_is_never_taken_for_complete(name: str, keep: float, clips: ClipByName, run: Run) -> None:
    source, truth = clips(name)
    result = run(truncated_copy(source, keep))
    assert "truncated" in result.codes
    assert result.numbers() == truth.numbers[: result.extracted.frames]


def write_unreadable_file(path: Path, clips: ClipByName, kind: str) -> Path:
    source = path / f"{kind}.mp4"
    match kind:
        case "empty_file":
            source.touch()
        case "not_a_video":
            write_text_file(source)
        case "playlist":
            write_hls_playlist(source)
        case "no_video_stream":
            write_audio_only(source)
        case "unreadable_container":
            return truncated_copy(clips("h264")[0])
        case "undecodable":
            intact = clips("h264")[0].read_bytes()
            start, length = (
                intact.index(b"mdat") + 4,
                int.from_bytes(intact[intact.index(b"mdat") - 4 :][:4], "big") - 8,
            )
            source.write_bytes(intact[:start] + bytes(length) + intact[start + length :])
    return source


@pytest.mark.parametrize(
    "kind", ["empty_file", "not_a_video", "playlist", "no_video_stream", "unreadable_container", "undecodable"]
)
def test_unreadable_file_has_fault_file_and_its_code(kind: str, clips: ClipByName, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=kind) as raised:
        extract(write_unreadable_file(tmp_path, clips, kind), parse(ALL), tmp_path)
    assert raised.value.fault is Fault.FILE


def test_empty_selection_has_fault_request(clips: ClipByName, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="empty_selection") as raised:
        extract(clips("h264")[0], parse('{"range": {"start": 1000}}'), tmp_path)
    assert raised.value.fault is Fault.REQUEST


def test_more_frames_than_allowed_are_refused(clips: ClipByName, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="too_many_frames"):
        extract(clips("h264")[0], parse(ALL), tmp_path, options=EngineOptions(max_frames=59))


def test_every_frame_of_a_4k_clip_takes_less_than_350_megabytes(clips: ClipByName, tmp_path: Path) -> None:
    command = command_of(extract_every_frame, clips("h264_4k")[0], tmp_path)
    kibibytes = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert kibibytes / 1024 < 350

"""Assembled segments equal, byte for byte, the result of one pass over the whole video."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from actors.engine.assemble_segments import assemble
from actors.engine.checksummed_json import ChecksumMismatchError, read_checksummed, write_checksummed
from actors.engine.decode_pass import DECORD_DISAGREED
from actors.engine.extract import extract, extract_or_split
from actors.engine.extract_segment import extract_segment
from actors.engine.plan_file import EngineMismatchError
from actors.extraction_types import (
    PLAN_FILE,
    RESULT_FILES,
    SEGMENT_FILES,
    SEGMENT_REPORT,
    EngineOptions,
    Extracted,
    Reader,
    Split,
    engine_name,
)
from actors.readers.decord_verification import FrameMismatchError
from db.values.frame_spec import parse
from db.values.segment import Segment
from tests.contract.decoding.test_scenes import film  # noqa: F401
from tests.support.videos.clips import ClipByName, ClipSpec, make_clip, truncated_copy

DEFAULT_OPTIONS = EngineOptions()
ENGINE = engine_name(Reader.AUTO)
ALL = '{"sample": {"mode": "all"}}'
SPECS = [
    ALL,
    '{"sample": {"mode": "fps", "fps": 7}, "image": {"format": "png", "max_side": 90, "names": "number"}}',
    '{"sample": {"mode": "timestamps", "at": [0.1, 1.4, 0.7, 99]}, "image": {"format": "webp", "names": "index"}}',
    '{"sample": {"mode": "keyframes"}, "snap": "keyframe", "max_frames": 4}',
    '{"sample": {"mode": "uniform", "count": 9}, "range": {"start": 0.5, "end": 1.7}}',
]
CLIPS = ["h264_b_frames", "h264_vfr", "h264_edit_list", "h264_open_gop", "hevc", "hevc_10_bit", "vp9_webm", "av1_mp4"]


@dataclass(frozen=True)
class SegmentedResult:
    split: Split
    folders: list[Path]
    plan: Path
    out: Path
    extracted: Extracted


def ignore_progress(_event: object) -> None:
    pass


def make_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def extract_in_segments(
    source: Path, spec: str, root: Path, *, options: EngineOptions = DEFAULT_OPTIONS, max_task_seconds: float = 1e-6
) -> SegmentedResult:
    frame_spec = parse(spec)
    plan_folder = make_folder(root / "plan")
    split = extract_or_split(
        source,
        frame_spec,
        plan_folder,
        max_task_seconds=max_task_seconds,
        engine=ENGINE,
        options=options,
        on_progress=ignore_progress,
    )
    assert isinstance(split, Split)
    plan, folders = plan_folder / PLAN_FILE, []
    for number, segment in enumerate(split.segments):
        folders.append(make_folder(root / f"segment{number}"))
        extract_segment(
            source, plan, segment, frame_spec, folders[-1], engine=ENGINE, options=options, on_progress=ignore_progress
        )
    out = make_folder(root / "joined")
    joined = assemble(
        source, plan, folders, frame_spec, out, engine=ENGINE, options=options, on_progress=ignore_progress
    )
    return SegmentedResult(split, folders, plan, out, joined)


def assert_same(whole: Path, joined: Path) -> None:
    for name in RESULT_FILES:
        if name != "report.json":
            assert (joined / name).read_bytes() == (whole / name).read_bytes(), name
    assert {path.name for path in joined.iterdir()} == set(RESULT_FILES)


def compare(
    source: Path, spec: str, root: Path, options: EngineOptions = DEFAULT_OPTIONS
) -> tuple[Extracted, SegmentedResult]:
    whole = extract(source, parse(spec), make_folder(root / "whole"), options=options)
    segments = extract_in_segments(source, spec, root, options=options)
    assert_same(root / "whole", segments.out)
    assert segments.extracted == whole
    return whole, segments


@pytest.mark.parametrize("name", CLIPS)
def test_all_frames_in_segments_equal_one_pass(name: str, clips: ClipByName, tmp_path: Path) -> None:
    _, segments = compare(clips(name)[0], ALL, tmp_path)
    assert len(segments.split.segments) >= 2


@pytest.mark.parametrize("spec", SPECS, ids=[json.loads(spec)["sample"]["mode"] for spec in SPECS])
def test_every_mode_and_format_in_segments_equals_one_pass(spec: str, tmp_path: Path, clips: ClipByName) -> None:
    compare(clips("h264_b_frames")[0], spec, tmp_path)


def test_scene_detection_runs_once(film: Path, tmp_path: Path) -> None:  # noqa: F811
    _, segments = compare(film, '{"sample": {"mode": "scenes"}}', tmp_path)
    assert segments.split.frames_total == 4


@pytest.mark.parametrize(
    "options",
    [EngineOptions(threads=2), EngineOptions(sequential=True), EngineOptions(reader=Reader.DECORD)],
    ids=["two threads", "sequential", "decord"],
)
def test_every_reader_in_segments_equals_one_pass(options: EngineOptions, clips: ClipByName, tmp_path: Path) -> None:
    compare(clips("h264")[0], ALL, tmp_path, options)


def test_replaced_reader_gives_one_warning(clips: ClipByName, tmp_path: Path) -> None:
    whole, segments = compare(clips("h264_open_gop")[0], ALL, tmp_path, EngineOptions(reader=Reader.DECORD))
    assert [warning.code for warning in whole.warnings] == ["reader_fallback"]
    assert len(json.loads((segments.out / "report.json").read_text())["fallbacks"]) == 1


def copy_with_noise_packets(source: Path, into: Path, positions: tuple[int, ...]) -> Path:
    """A copy in which these packets are noise. positions: of the packets in decoding order."""
    with av.open(str(source)) as container:
        ranges = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    data, noise = bytearray(source.read_bytes()), random.Random(1)
    for position in positions:
        start, size = ranges[position]
        data[start : start + size] = noise.randbytes(size)
    broken = into / f"broken{source.suffix}"
    broken.write_bytes(data)
    return broken


@pytest.mark.parametrize("spec", [ALL, '{"sample": {"mode": "fps", "fps": 10}}'], ids=["all", "fps"])
@pytest.mark.parametrize("positions", [(14,), (0, 30), (11, 12, 47)], ids=str)
@pytest.mark.parametrize("name", ["h264_b_frames", "h264_vfr_b_frames", "hevc"])
def test_missing_frames_and_warning_equal_one_pass(
    name: str, positions: tuple[int, ...], spec: str, clips: ClipByName, tmp_path: Path
) -> None:
    whole, _ = compare(copy_with_noise_packets(clips(name)[0], tmp_path, positions), spec, tmp_path)
    assert "frames_missing" in {warning.code for warning in whole.warnings}


def test_probe_warnings_equal_one_pass(clips: ClipByName, tmp_path: Path) -> None:
    whole, _ = compare(truncated_copy(clips("mkv")[0], 0.9), ALL, tmp_path)
    assert "truncated" in {warning.code for warning in whole.warnings}


def test_interlaced_frames_at_segment_borders_use_their_neighbors(tmp_path: Path) -> None:
    source = tmp_path / "film.mp4"
    options = (("x264-params", "tff=1:keyint=12:bframes=2"),)
    make_clip(source, ClipSpec(b_frames=2, options=options))
    compare(source, ALL, tmp_path)


def test_decord_rejected_in_one_segment_is_rejected_in_all(
    clips: ClipByName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, tries = EngineOptions(reader=Reader.DECORD), []

    def mismatch_once(*_arguments: object) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise FrameMismatchError("another picture")

    monkeypatch.setattr("actors.readers.decord_verification._compare", mismatch_once)
    source = clips("h264")[0]
    whole = extract(source, parse(ALL), make_folder(tmp_path / "whole"), options=options)
    assert whole.warnings == (DECORD_DISAGREED,)
    tries.clear()
    segments = extract_in_segments(source, ALL, tmp_path, options=options)
    assert_same(tmp_path / "whole", segments.out)
    report = json.loads((segments.out / "report.json").read_text())
    assert report["reader"] == "pyav"
    assert {segment["reader"] for segment in report["segments"]} == {"pyav", "decord"}


def test_short_or_unsplittable_work_is_not_split(clips: ClipByName, tmp_path: Path) -> None:
    for name, longest in [("h264", 60.0), ("h264_one_gop", 1e-6), ("mpeg4_avi", 1e-6), ("mpegts_mpeg2", 1e-6)]:
        out, source = make_folder(tmp_path / name), clips(name)[0]
        outcome = extract_or_split(
            source,
            parse(ALL),
            out,
            max_task_seconds=longest,
            engine=ENGINE,
            options=DEFAULT_OPTIONS,
            on_progress=ignore_progress,
        )
        assert isinstance(outcome, Extracted)


def test_report_is_the_sum_of_the_segments(clips: ClipByName, tmp_path: Path) -> None:
    segments = extract_in_segments(clips("h264")[0], ALL, tmp_path)
    report = json.loads((segments.out / "report.json").read_text())
    count = len(segments.split.segments)
    assert report["frames"] == {"table": 60, "planned": 60, "decoded": 60, "given": 60, "missing": 0, "repeated": 0}
    assert (len(report["segments"]), report["sequential"]) == (count, False)
    assert {"probe", "plan", "read", "encode", "assemble"} <= set(report["seconds"])


@pytest.mark.parametrize("name", [PLAN_FILE, *SEGMENT_FILES])
def test_bit_flip_in_a_stored_segment_is_detected(name: str, clips: ClipByName, tmp_path: Path) -> None:
    source = clips("h264")[0]
    segments = extract_in_segments(source, ALL, tmp_path)
    file = segments.plan if name == PLAN_FILE else segments.folders[1] / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    out = make_folder(tmp_path / "again")
    with pytest.raises(ChecksumMismatchError):
        assemble(
            source,
            segments.plan,
            segments.folders,
            parse(ALL),
            out,
            engine=ENGINE,
            options=DEFAULT_OPTIONS,
            on_progress=ignore_progress,
        )


def test_segment_of_another_video_is_refused(clips: ClipByName, tmp_path: Path) -> None:
    segments = extract_in_segments(clips("h264")[0], ALL, tmp_path)
    other, out = clips("h264_vfr")[0], make_folder(tmp_path / "other")
    with pytest.raises(ChecksumMismatchError):
        make_segment(other, segments.plan, segments.split.segments[0], out)


def make_segment(source: Path, plan: Path, segment: Segment, out: Path, engine: str = ENGINE) -> None:
    extract_segment(
        source, plan, segment, parse(ALL), out, engine=engine, options=DEFAULT_OPTIONS, on_progress=ignore_progress
    )


def test_plan_and_segments_of_another_engine_are_refused(clips: ClipByName, tmp_path: Path) -> None:
    source = clips("h264")[0]
    segments = extract_in_segments(source, ALL, tmp_path)
    with pytest.raises(EngineMismatchError) as refused:
        make_segment(
            source, segments.plan, segments.split.segments[0], make_folder(tmp_path / "segment"), engine="auto/next"
        )
    assert refused.value.outcome.engine == ENGINE
    out = make_folder(tmp_path / "again")
    with pytest.raises(EngineMismatchError):
        assemble(
            source,
            segments.plan,
            segments.folders,
            parse(ALL),
            out,
            engine="auto/next",
            options=DEFAULT_OPTIONS,
            on_progress=ignore_progress,
        )


@pytest.mark.parametrize("engine", ["auto/before", None], ids=["another", "one that had no name"])
def test_one_segment_of_another_engine_is_refused(engine: str | None, clips: ClipByName, tmp_path: Path) -> None:
    source = clips("h264")[0]
    segments = extract_in_segments(source, ALL, tmp_path)
    report = read_checksummed(segments.folders[1] / SEGMENT_REPORT) | {"engine": engine}
    write_checksummed(
        segments.folders[1] / SEGMENT_REPORT, {name: value for name, value in report.items() if value is not None}
    )
    out = make_folder(tmp_path / "again")
    with pytest.raises(EngineMismatchError) as refused:
        assemble(
            source,
            segments.plan,
            segments.folders,
            parse(ALL),
            out,
            engine=ENGINE,
            options=DEFAULT_OPTIONS,
            on_progress=ignore_progress,
        )
    assert refused.value.outcome.engine == (engine or "")


def test_damage_before_an_open_gop_spoils_no_frame_of_another_segment(clips: ClipByName, tmp_path: Path) -> None:
    """One pass over the video drops the whole GOP. A segment that needs no damaged frame may still give its frames."""
    source, truth = clips("h264_open_gop")
    segments = extract_in_segments(copy_with_noise_packets(source, tmp_path, (11, 12, 47)), ALL, tmp_path)
    manifest = json.loads((segments.out / "manifest.json").read_text())
    intact = extract(source, parse(ALL), make_folder(tmp_path / "intact"))
    assert intact.frames == len(truth.shown)
    expected = json.loads((tmp_path / "intact" / "manifest.json").read_text())["frames"]
    assert all(frame["sha256"] == expected[frame["index"]]["sha256"] for frame in manifest["frames"])
    missing = len(truth.shown) - segments.extracted.frames
    assert missing > 0
    assert f"{missing} of {len(truth.shown)} frames" in segments.extracted.warnings[-1].detail

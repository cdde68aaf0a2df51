"""The archive is a zip file that common programs read. The same input gives the same bytes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from dataclasses import asdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.archive_writer import ArchiveWriter, decimal, half_up, image_name
from actors.engine.zip_writer import ZipWriter
from actors.extraction_types import ResultWarning
from db.values.frame_spec import FrameSpec, ImageNames, canonical, parse
from db.values.manifest import ManifestRow, ManifestVideo, row_of
from db.values.media_info import Media

IMAGES = [b"\xff\xd8 one", b"\xff\xd8 two two", b"\xff\xd8 three"]
WARNING = ResultWarning("truncated", "The file is cut off — “here”.")


VIDEO = ManifestVideo("5e" * 32, 123_456, Media("mp4", "h264", 640, 360, 0, 1.5, 45, 30000 / 1001, False, 2))


def write(folder: Path, spec: FrameSpec | None = None) -> tuple[int, str]:
    folder.mkdir(exist_ok=True)
    with ArchiveWriter(folder, spec or FrameSpec(), VIDEO, Fraction(1, 90_000)) as archive:
        for i, image in enumerate(IMAGES):
            archive.add(image, (640, 360), index=3 * i, pts=3003 * i, time=Fraction(1001, 30_000) * 3 * i, key=i == 0)
        return archive.finish([WARNING])


def test_archive_contains_images_then_manifests_uncompressed(tmp_path: Path) -> None:
    write(tmp_path)
    with zipfile.ZipFile(tmp_path / "frames.zip") as file:
        assert file.testzip() is None
        entries = file.infolist()
        assert [entry.filename for entry in entries] == [
            "frame_000001_t000000.000.jpg",
            "frame_000002_t000000.100.jpg",
            "frame_000003_t000000.200.jpg",
            "manifest.json",
            "manifest.csv",
        ]
        assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
        assert [file.read(entry) for entry in entries[:3]] == IMAGES
        for name in ("manifest.json", "manifest.csv"):
            assert file.read(name) == (tmp_path / name).read_bytes()


def test_reported_size_and_hash_match_the_file(tmp_path: Path) -> None:
    size, digest = write(tmp_path)
    data = (tmp_path / "frames.zip").read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)


def test_only_the_three_result_files_remain(tmp_path: Path) -> None:
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"frames.zip", "manifest.json", "manifest.csv"}


def test_manifest_offset_locates_each_image(tmp_path: Path) -> None:
    write(tmp_path)
    data, manifest = (tmp_path / "frames.zip").read_bytes(), json.loads((tmp_path / "manifest.json").read_text())
    for frame, image in zip(manifest["frames"], IMAGES, strict=True):
        assert data[frame["offset"] : frame["offset"] + frame["bytes"]] == image
        assert hashlib.sha256(image).hexdigest() == frame["sha256"]


def test_manifest_has_the_documented_fields(tmp_path: Path) -> None:
    spec = parse('{"sample": {"mode": "fps", "fps": 29.97}, "range": {"start": 0.100}}')
    write(tmp_path, spec)
    text = (tmp_path / "manifest.json").read_text(encoding="utf-8")
    manifest = json.loads(text, parse_float=Decimal)
    assert list(manifest) == ["version", "spec", "video", "time_base", "warnings", "frames"]
    assert manifest["version"] == 2
    assert f'"spec":{canonical(spec)},' in text
    assert json.loads(text)["video"] == {
        "sha256": "5e" * 32,
        "size": 123_456,
        "container": "mp4",
        "codec": "h264",
        "width": 640,
        "height": 360,
        "rotation": 0,
        "duration": 1.5,
        "frames": 45,
        "fps_average": 30000 / 1001,
        "variable_frame_rate": False,
    }
    assert manifest["time_base"] == [1, 90_000]
    assert manifest["warnings"] == [{"code": WARNING.code, "detail": WARNING.detail}]
    second = manifest["frames"][1]
    fields = ["n", "name", "index", "pts", "time", "key", "width", "height", "bytes", "sha256", "offset"]
    assert list(second) == fields
    assert (second["n"], second["index"], second["pts"], second["key"]) == (2, 3, 3003, False)
    assert str(second["time"]) == "0.100100"


def test_csv_manifest_equals_the_json_manifest(tmp_path: Path) -> None:
    write(tmp_path)
    raw = (tmp_path / "manifest.csv").read_bytes()
    assert raw.endswith(b"\r\n")
    rows = list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    frames = json.loads((tmp_path / "manifest.json").read_text(), parse_float=str)["frames"]
    assert list(rows[0]) == list(frames[0])
    expected = [{key: str(value).lower() if key == "key" else str(value) for key, value in f.items()} for f in frames]
    assert rows == expected


def test_same_input_gives_the_same_archive_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "one") == write(tmp_path / "two")


def test_archive_of_more_than_65535_entries_is_readable_by_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with path.open("wb") as file:
        writer = ZipWriter(file)
        for i in range(66_000):
            writer.add(f"{i}", b"x")
        writer.finish()
    with zipfile.ZipFile(path) as many:
        assert len(many.infolist()) == 66_000
        assert many.read("65999") == b"x"


def test_entries_beyond_4_gib_are_readable_by_other_programs(tmp_path: Path) -> None:
    path, start = tmp_path / "far.zip", 5 << 30
    with path.open("wb") as file:
        writer = ZipWriter(file)
        writer.add("near", b"one")
        file.seek(start)  # a hole in the file stands for gigabytes of images
        writer.position = start
        offset = writer.add("far", b"two")
        writer.finish()
    with zipfile.ZipFile(path) as far:
        assert far.read("near") == b"one"
        assert far.read("far") == b"two"
        assert far.getinfo("far").header_offset == start < offset


def test_row_is_read_back_from_its_csv_line_and_equals_the_manifest(tmp_path: Path) -> None:
    write(tmp_path)
    lines = (tmp_path / "manifest.csv").read_text().splitlines()
    rows = [row_of(line) for line in lines[1:]]
    assert [row.csv_line() for row in rows] == lines[1:]
    text = (tmp_path / "manifest.json").read_text()
    assert text.endswith(f'"frames":[{",".join(row.json() for row in rows)}]}}')


@pytest.mark.parametrize("line", ["", "1,a.jpg", '1,"a,b.jpg",0,0,0.000000,true,1,1,1,' + "0" * 64 + ",1"])
def test_line_that_no_manifest_has_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a row of a manifest"):
        row_of(line)


@given(
    st.builds(
        ManifestRow,
        st.integers(1, 10**7),
        st.just("frame_000001.webp"),
        st.integers(0, 10**7),
        st.integers(-(2**62), 2**62),
        st.fractions(0, 10**6).map(lambda time: decimal(time, 6)),
        st.booleans(),
        *[st.integers(1, 2**53)] * 3,
        st.binary(min_size=32, max_size=32).map(bytes.hex),
        st.integers(0, 2**62),
    )
)
def test_every_row_survives_csv_and_json(row: ManifestRow) -> None:
    assert row_of(row.csv_line()) == row
    assert json.loads(row.json(), parse_float=str) == asdict(row) | {"key": row.key}


@pytest.mark.parametrize(
    ("names", "name", "far_name"),
    [
        (ImageNames.TIME, "frame_000002_t000001.001.jpg", "frame_1234567_t1234567.000.png"),
        (ImageNames.NUMBER, "frame_000002.jpg", "frame_1234567.png"),
        (ImageNames.INDEX, "frame_000030.jpg", "frame_7654321.png"),
    ],
)
def test_image_is_named_by_number_and_time_by_number_or_by_index(names: ImageNames, name: str, far_name: str) -> None:
    assert image_name(names, 2, 30, Fraction(1001, 1000), "jpg") == name
    assert image_name(names, 1_234_567, 7_654_321, Fraction(1_234_567), "png") == far_name


def test_half_a_millisecond_rounds_up() -> None:
    assert image_name(ImageNames.TIME, 1, 0, Fraction(1, 2000), "jpg") == "frame_000001_t000000.001.jpg"
    assert decimal(Fraction(9_999_995, 10_000_000), 6) == "1.000000"


@given(st.fractions(0, 10**6))
def test_decimal_text_is_off_by_at_most_half_a_digit(value: Fraction) -> None:
    text = decimal(value, 3)
    assert -Fraction(1, 2000) < Fraction(text) - value <= Fraction(1, 2000)
    assert half_up(value) == int(value + Fraction(1, 2))

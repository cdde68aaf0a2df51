"""JSON representations of rows, list cursors, and file names of downloads."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.extraction_json import extraction_representation
from db.values.error_catalogue import CatalogueError
from db.values.lifecycle import ExtractionStatus
from db.videos import ExtractionRow, VideoRow
from serve_app.cached_representations import encode_entry, representation_of
from serve_app.http import pagination
from serve_app.http.json_request_body import parse_json
from serve_app.http.json_response import encode_json
from serve_app.routes.downloads import attachment

SPEC = '{"sample":{"mode":"fps","fps":0.10000000000000000000000000000001}}'
ROW = ExtractionRow(
    id=UUID(int=1),
    video_id=UUID(int=2),
    spec=SPEC,
    status=ExtractionStatus.QUEUED,
    reused=False,
    attempt=0,
    version=1,
    frames_done=0,
    frames_total=None,
    error_code=None,
    error_detail=None,
    result_key=None,
    result_frames=None,
    result_bytes=None,
    result_sha256=None,
    result_warnings=None,
    result_expires_at=None,
    result_has_expired=False,
    created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    started_at=None,
    finished_at=None,
    elapsed_seconds=None,
    preview_key=None,
    preview_frames=None,
    preview_segment=None,
    queue_position=7,
)


def as_json(row: ExtractionRow) -> dict[str, object]:
    representation: dict[str, object] = json.loads(encode_json(extraction_representation(row)))
    return representation


def test_queued_extraction_has_its_queue_position_only() -> None:
    representation = as_json(ROW)
    assert representation["status"] == "queued"
    assert representation["created_at"] == "2026-01-02T03:04:05Z"
    assert representation["error"] is representation["result"] is representation["started_at"] is None
    assert representation["progress"] == {
        "frames_done": 0,
        "frames_total": None,
        "fraction": None,
        "queue_position": 7,
        "eta_seconds": None,
    }


def test_running_extraction_has_progress_and_remaining_time() -> None:
    row = replace(
        ROW,
        status=ExtractionStatus.RUNNING,
        frames_done=25,
        frames_total=100,
        elapsed_seconds=10.0,
        queue_position=None,
    )
    assert as_json(row)["progress"] == {
        "frames_done": 25,
        "frames_total": 100,
        "fraction": 0.25,
        "queue_position": None,
        "eta_seconds": 30.0,
    }


def test_succeeded_extraction_has_a_result_and_fraction_one() -> None:
    row = replace(
        ROW,
        status=ExtractionStatus.SUCCEEDED,
        result_frames=0,
        result_bytes=22,
        result_sha256="ab",
        result_key="results/x",
    )
    representation = as_json(row)
    assert representation["result"] == {"frames": 0, "bytes": 22, "sha256": "ab", "warnings": [], "expires_at": None}
    assert json.loads(encode_json(extraction_representation(row)))["progress"]["fraction"] == 1


def test_failed_extraction_has_code_detail_fault_and_remedy() -> None:
    row = replace(ROW, status=ExtractionStatus.FAILED, error_code="no_video_stream", error_detail="Sound only.")
    error = as_json(row)["error"]
    assert isinstance(error, dict)
    assert error["code"] == "no_video_stream"
    assert error["detail"] == "Sound only."
    assert error["fault"] == "file"
    assert error["remedy"]


def test_specification_keeps_every_digit() -> None:
    video = VideoRow(UUID(int=2), "a.mp4", 5, "cd", None, ROW.created_at, ROW)
    representation = representation_of(video)
    assert SPEC.encode() in encode_json(representation.extraction)
    assert SPEC.encode() in encode_json(representation.video)
    assert json.loads(encode_json(representation.video))["extraction"] == json.loads(
        encode_json(representation.extraction)
    )
    assert encode_entry(video).startswith(b"%d\n" % len(encode_json(representation.extraction)))


def test_decimals_are_written_exactly() -> None:
    assert encode_json({"a": Decimal("1.10"), "b": Decimal("1E+3")}) == b'{"a":1.10,"b":1000}'


@pytest.mark.parametrize(
    "text", [b"{", b'"\\ud800"', b"NaN", b"[1,]", b"\xff", b"\xff\xfe1\0", b"[" * 5000, b"", b'"\x01"']
)
def test_invalid_json_is_malformed(text: bytes) -> None:
    with pytest.raises(CatalogueError) as error:
        parse_json(text, "The body")
    assert error.value.code == "malformed_request"


@pytest.mark.parametrize(
    "number", ["1e99999999999999999999", "-1e400", "1e-400", "1" * 1001, "0." + "1" * 1000, "[1, 2, 1E+999]"]
)
def test_number_that_is_too_large_is_told_as_such(number: str) -> None:
    with pytest.raises(CatalogueError) as error:
        parse_json(f'{{"a": {number}}}'.encode(), "The body")
    assert error.value.code == "invalid_field"
    assert "too large" in error.value.detail
    assert len(error.value.detail) < 120


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1, "c": 2, "\\u0061": 1}}]', '{"a": {}, "a": {}}'])
def test_key_that_comes_twice_in_an_object_is_named(text: str) -> None:
    with pytest.raises(CatalogueError) as error:
        parse_json(text.encode(), "The body")
    assert (error.value.code, error.value.detail) == ("invalid_field", "a: This key comes twice in one object.")


def test_repeated_key_that_no_response_can_contain_is_still_answered() -> None:
    with pytest.raises(CatalogueError) as error:
        parse_json(b'{"\\ud800": 1, "\\ud800": 2}', "The body")
    error.value.detail.encode()


def test_same_key_in_two_objects_is_well_formed() -> None:
    assert parse_json(b'[{"a": 1}, {"a": {"a": 2}}]', "x") == [{"a": 1}, {"a": {"a": 2}}]


def test_json_numbers_are_read_exactly() -> None:
    assert parse_json(b"[18446744073709551617, 0.30000000000000001, 1e300]", "x") == [
        18446744073709551617, Decimal("0.30000000000000001"), Decimal("1e300"),
    ]  # fmt: skip
    assert parse_json(b'{"a": 0.1, "b": 12}', "x") == {"a": Decimal("0.1"), "b": 12}


@given(st.uuids())
def test_cursor_survives_encoding_and_decoding(last: UUID) -> None:
    assert pagination.decode_cursor(pagination.encode_cursor(last)) == last


@pytest.mark.parametrize("text", ["", "x", "é", "A" * 22 + "=", "A" * 21 + "B", "A" * 40, "!" * 22])
def test_any_other_text_is_an_invalid_cursor(text: str) -> None:
    with pytest.raises(CatalogueError) as error:
        pagination.decode_cursor(text)
    assert error.value.code == "invalid_field"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_download_name_never_breaks_its_header(name: str) -> None:
    header = attachment(name)
    header.encode("ascii")
    assert "\r" not in header
    assert "\n" not in header
    assert header.count('"') == 2


def test_download_name_keeps_the_video_name() -> None:
    assert attachment('fé"rias.zip') == "attachment; filename=\"f__rias.zip\"; filename*=UTF-8''f%C3%A9%22rias.zip"

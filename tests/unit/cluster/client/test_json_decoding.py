"""Decodes JSON into the SDK's values."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest

from cluster.client.api_types import Extraction, Page, Status, Video
from cluster.client.errors import UnexpectedAnswer
from cluster.client.json_decoding import decode
from cluster.client.result_types import Manifest
from tests.support.clients.fake_service import MANIFEST
from tests.support.own_process import command_of
from tests.support.programs import decode_in_threads

EXTRACTION: dict[str, Any] = {
    "id": "e",
    "video_id": "v",
    "spec": {"sample": {"mode": "fps", "fps": 1}},
    "status": "succeeded",
    "progress": {"frames_done": 2, "frames_total": 2, "fraction": 1},
    "created_at": "2026-01-02T03:04:05.678901Z",
    "result": {"frames": 2, "bytes": 9, "sha256": "ab", "warnings": [{"code": "c", "detail": "d"}], "expires_at": None},
    "of_a_later_version": {"x": 1},
}
VIDEO = {"id": "v", "filename": "a.mp4", "size": 3, "status": "succeeded", "created_at": "2026-01-02T03:04:05+00:00"}


def test_nested_values_are_read_and_unknown_fields_are_ignored() -> None:
    extraction = decode(Extraction, json.dumps(EXTRACTION).encode())
    assert extraction.created_at == datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    assert extraction.status is Status.SUCCEEDED
    assert extraction.result is not None
    assert extraction.result.warnings[0].code == "c"
    assert extraction.progress.fraction == 1
    assert extraction.error is None


def test_page_is_read_with_its_items() -> None:
    page = decode(Page[Video], json.dumps({"items": [VIDEO | {"extraction": EXTRACTION}], "next_cursor": "n"}).encode())
    assert page.items[0].extraction.id == "e"
    assert page.next_cursor == "n"


def test_manifest_is_read() -> None:
    manifest = decode(Manifest, json.dumps(MANIFEST).encode())
    assert manifest.time_base == (1, 15360)
    assert manifest.frames[0].key is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": 5}, "extraction.id"),
        ({"status": "paused"}, "extraction.status"),
        ({"attempt": True}, "extraction.attempt"),
        ({"created_at": "yesterday"}, "extraction.created_at"),
        ({"progress": []}, "extraction.progress"),
        ({"created_at": "2026-01-02T03:04:05"}, "extraction.created_at"),
        ({"result": {"frames": 1}}, "`bytes` - at `extraction.result`"),
        ({"result": EXTRACTION["result"] | {"warnings": [{}]}}, r"`code` - at `extraction.result.warnings\[0\]`"),
    ],
)
def test_missing_or_invalid_field_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=message):
        decode(Extraction, json.dumps(EXTRACTION | change).encode())


def test_missing_field_of_the_answer_is_named() -> None:
    with pytest.raises(UnexpectedAnswer, match=r"no video that this client knows: .* `id`"):
        decode(Video, b"{}")


def test_invalid_field_in_a_page_is_named() -> None:
    with pytest.raises(UnexpectedAnswer, match=r"page.items\[0\].size"):
        decode(Page[Video], json.dumps({"items": [VIDEO | {"extraction": EXTRACTION, "size": "3"}]}).encode())


def test_answer_that_is_not_json_is_unexpected() -> None:
    with pytest.raises(UnexpectedAnswer, match="not JSON"):
        decode(Extraction, b"<html>")
    with pytest.raises(UnexpectedAnswer, match="not JSON"):
        decode(Extraction, b"\xff\xfe")


def test_threads_decode_values_of_a_new_type_at_the_same_time() -> None:
    ended = subprocess.run(command_of(decode_in_threads), check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr

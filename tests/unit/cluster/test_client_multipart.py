"""Files as one body, and specifications as text."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.client.errors import UnsendableFile
from cluster.client.extraction_spec import spec_text
from cluster.client.multipart_body import CHUNK_BYTES, LocalFile, MultipartBody, batches, stat_file
from tests.support.fake_service import ApiRequest, read_multipart


def sent(body: MultipartBody) -> bytes:
    return b"".join(body.chunks())


def test_what_is_sent_is_what_a_server_reads(tmp_path: Path) -> None:
    contents = {"naïve clip.mp4": b"\r\n--x--\r\n" * 9, "b.mp4": b"", 'quo"ted.mp4': b"v" * (CHUNK_BYTES + 1)}
    files = []
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        files.append(stat_file(tmp_path / name))
    body = MultipartBody(files, '{"a":1}', "boundary")
    request = ApiRequest("POST", "/v1/videos", {}, {"content-type": body.content_type}, sent(body))
    read, spec = read_multipart(request)
    assert [content for _, content in read] == list(contents.values())
    assert [name for name, _ in read][1:] == ["b.mp4", "quo%22ted.mp4"]
    assert "naïve clip.mp4".encode() in request.body
    assert spec == '{"a":1}'


def test_the_length_is_known_ahead_and_progress_ends_at_it(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"v" * 1000)
    told: list[tuple[int, int]] = []
    body = MultipartBody([stat_file(tmp_path / "a.mp4")], None, "b", lambda done, total: told.append((done, total)))
    assert len(sent(body)) == body.length
    assert told[-1] == (body.length, body.length)


def test_a_body_can_be_sent_again(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"v" * 10)
    body = MultipartBody([stat_file(tmp_path / "a.mp4")], None, "b")
    assert sent(body) == sent(body)


@pytest.mark.parametrize("change", [b"shorter", b"much longer than before"])
def test_a_file_that_changes_while_it_is_sent_is_not_sent_wrongly(tmp_path: Path, change: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"0123456789")
    body = MultipartBody([stat_file(path)], None, "b")
    path.write_bytes(change)
    with pytest.raises(UnsendableFile, match="changed while it was sent"):
        sent(body)


def test_a_folder_is_no_file_and_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(UnsendableFile, match="not a file"):
        stat_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        stat_file(tmp_path / "none.mp4")


@given(st.lists(st.integers(0, 100)), st.integers(1, 5))
def test_batches_keep_order_and_limits(sizes: list[int], max_files: int) -> None:
    files = [LocalFile(Path(str(i)), size) for i, size in enumerate(sizes)]
    cut = batches(files, 100, max_files)
    assert [file for batch in cut for file in batch] == files
    assert all(batch and len(batch) <= max_files and sum(f.size for f in batch) <= 100 for batch in cut)


def test_a_file_too_large_for_any_request_is_told_with_both_sizes() -> None:
    with pytest.raises(UnsendableFile, match="has 1,001 bytes; one request takes 1,000"):
        batches([LocalFile(Path("big.mp4"), 1001)], 1000, 10)


def test_decimals_of_a_specification_stay_digit_by_digit() -> None:
    assert spec_text({"sample": {"mode": "fps", "fps": Decimal("29.970")}}) == '{"sample":{"mode":"fps","fps":29.970}}'
    assert spec_text({"at": (0.1, 2, None, True)}) == '{"at":[0.1,2,null,true]}'
    assert spec_text('{"max_frames": 1}') == '{"max_frames": 1}'


@pytest.mark.parametrize("spec", ["{", {"a": float("nan")}, {"a": Decimal("Infinity")}, {"a": object()}])
def test_what_json_can_not_hold_is_refused_before_anything_is_sent(spec: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        spec_text(spec)

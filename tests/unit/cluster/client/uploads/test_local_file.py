"""A file in pieces, and the requests that carry them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cluster.client.effects import Reply
from cluster.client.errors import UnexpectedAnswer, UnsendableFile
from cluster.client.local_files.local_file import BLOCK_BYTES, FilePiece, sha256_of, stat_file
from cluster.client.uploads import tus_protocol
from cluster.client.uploads.content_reuse import content_key
from tests.support.clients.tus_client import metadata


def piece_bytes(piece: FilePiece) -> bytes:
    return b"".join(piece.chunks())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(range(256)) * (BLOCK_BYTES // 64))
    return path


@pytest.mark.parametrize(("start", "length"), [(0, 7), (5, BLOCK_BYTES), (1, 2 * BLOCK_BYTES + 3)])
def test_piece_has_its_bytes_and_reports_its_position_in_the_file(path: Path, start: int, length: int) -> None:
    progress: list[tuple[int, int]] = []
    file = stat_file(path)
    piece = FilePiece(file, start, length, lambda *position_and_size: progress.append(position_and_size))
    assert piece_bytes(piece) == piece_bytes(piece) == path.read_bytes()[start : start + length]
    assert progress[-1] == (start + length, file.size)


def test_piece_is_read_in_blocks(path: Path) -> None:
    assert max(map(len, FilePiece(stat_file(path), 0, path.stat().st_size).chunks())) == BLOCK_BYTES


@pytest.mark.parametrize("change", [b"shorter", b"longer than before", b"0123456789"])
def test_last_block_of_a_changed_file_is_not_read(tmp_path: Path, change: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"0123456789")
    file = stat_file(path)
    path.write_bytes(change)
    os.utime(path, ns=(file.mtime_ns + 1, file.mtime_ns + 1))
    with pytest.raises(UnsendableFile, match="changed while it was read"):
        piece_bytes(FilePiece(file, 0, 10))
    with pytest.raises(UnsendableFile, match="changed while it was read"):
        sha256_of(file)


def test_last_block_of_a_file_that_changes_while_it_is_read_is_not_read(path: Path) -> None:
    chunks = FilePiece(stat_file(path), 0, BLOCK_BYTES + 1).chunks()
    assert len(next(chunks)) == BLOCK_BYTES
    os.utime(path, ns=(0, 0))
    with pytest.raises(UnsendableFile, match="changed while it was read"):
        next(chunks)


def test_folder_is_refused_and_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(UnsendableFile, match="not a file"):
        stat_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        stat_file(tmp_path / "none.mp4")


def test_another_name_content_or_specification_has_another_key() -> None:
    keys = [content_key(*values) for values in (("x", None, "1"), ("x", None, "2"), ("y", None, "1"), ("x", "{}", "1"))]
    assert len(set(keys)) == 4
    assert content_key("x", None, "1") == keys[0]
    assert all(len(key) < 255 and key.isascii() and " " not in key for key in keys)


def test_metadata_is_in_base64_without_missing_values() -> None:
    values = {"filename": "naïve “clip”.mp4", "spec": '{"a":1}', "sha256": None}
    assert tus_protocol.metadata_header(values) == metadata(filename="naïve “clip”.mp4", spec='{"a":1}')
    assert tus_protocol.metadata_header({"filename": "\udc80.mp4"}) == metadata(filename="?.mp4")


def reply(**headers: str) -> Reply:
    return Reply(200, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


@pytest.mark.parametrize("location", ["/v1/uploads/u-1", "https://frames.example/v1/uploads/u-1"])
def test_upload_is_requested_at_the_clients_own_address(location: str) -> None:
    assert tus_protocol.upload_path(reply(location=location)) == "/v1/uploads/u-1"


def test_position_has_offset_expiry_and_video() -> None:
    position = tus_protocol.position_of(
        "/p", reply(upload_offset="3", upload_expires="Wed, 21 Oct 2015 07:28:00 GMT"), 9
    )
    assert (position.offset, position.video_id, position.expires_at) == (
        3,
        None,
        datetime(2015, 10, 21, 7, 28, tzinfo=UTC),
    )
    assert (
        tus_protocol.position_of("/p", reply(upload_offset="9", video_location="/v1/videos/v-1"), 9).video_id == "v-1"
    )


@pytest.mark.parametrize("headers", [{"upload_offset": "10"}, {"upload_offset": "-1"}, {"upload_offset": "9"}])
def test_impossible_offset_is_an_unexpected_answer(headers: dict[str, str]) -> None:
    with pytest.raises(UnexpectedAnswer):
        tus_protocol.position_of("/p", reply(**headers), 9)


def test_upload_without_an_address_is_an_unexpected_answer() -> None:
    with pytest.raises(UnexpectedAnswer, match="did not say where"):
        tus_protocol.upload_path(reply())

"""The idempotency key of each file of a batch, so that an interrupted command can be repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.cli.server_batch import idempotency_key_of
from cluster.client.errors import UnsendableFile


def file(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return path


def test_the_same_name_content_and_specification_have_the_same_key(tmp_path: Path) -> None:
    here, there = file(tmp_path / "a", "x.mp4", b"1"), file(tmp_path / "b", "x.mp4", b"1")
    assert idempotency_key_of(here, '{"max_frames":1}') == idempotency_key_of(there, '{"max_frames":1}')


def test_another_name_content_or_specification_has_another_key(tmp_path: Path) -> None:
    keys = {
        idempotency_key_of(file(tmp_path, "x.mp4", b"1"), None),
        idempotency_key_of(file(tmp_path, "x.mp4", b"2"), None),
        idempotency_key_of(file(tmp_path, "y.mp4", b"1"), None),
        idempotency_key_of(file(tmp_path, "x.mp4", b"1"), "{}"),
    }
    assert len(keys) == 4
    assert all(len(key) < 255 and key.isascii() and " " not in key for key in keys)


def test_what_is_no_file_has_none(tmp_path: Path) -> None:
    with pytest.raises(UnsendableFile):
        idempotency_key_of(tmp_path, None)
    with pytest.raises(FileNotFoundError):
        idempotency_key_of(tmp_path / "none.mp4", None)

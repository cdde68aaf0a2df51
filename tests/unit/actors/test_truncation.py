"""Truncated files are distinguished from complete ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.container.truncation import is_truncated
from db.values.file_type import Container


def box(kind: bytes, payload: int) -> bytes:
    return (payload + 8).to_bytes(4, "big") + kind + bytes(payload)


def asf(declared: int, size: int) -> bytes:
    guid = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
    head = bytes(30) + guid + bytes(24) + declared.to_bytes(8, "little")
    return head + bytes(size - len(head))


SEGMENT = bytes.fromhex("1a45dfa3 84 00000000 18538067")
FLV = b"FLV\x01\x05\x00\x00\x00\x09" + bytes(4) + b"\x09" + bytes(20) + (21).to_bytes(4, "big")

COMPLETE_FILES = {
    "mp4": (Container.MP4, box(b"ftyp", 16) + box(b"mdat", 1000)),
    "mp4 with a 64-bit box": (Container.MP4, b"\0\0\0\x01mdat" + (1000).to_bytes(8, "big") + bytes(984)),
    "matroska": (Container.MATROSKA, SEGMENT + b"\x41\x00" + bytes(256)),
    "avi": (Container.AVI, b"RIFF" + (500).to_bytes(4, "little") + bytes(500)),
    "mpegts": (Container.MPEG_TS, (b"\x47" + bytes(187)) * 4),
    "m2ts": (Container.MPEG_TS, (bytes(4) + b"\x47" + bytes(187)) * 4),
    "flv": (Container.FLV, FLV),
    "asf": (Container.ASF, asf(400, 400)),
}


@pytest.mark.parametrize("name", COMPLETE_FILES)
def test_complete_file_is_not_truncated(name: str, tmp_path: Path) -> None:
    container, data = COMPLETE_FILES[name]
    path = tmp_path / "file"
    path.write_bytes(data)
    assert not is_truncated(path, container)


@pytest.mark.parametrize("name", COMPLETE_FILES)
def test_file_without_its_last_byte_is_truncated(name: str, tmp_path: Path) -> None:
    container, data = COMPLETE_FILES[name]
    path = tmp_path / "file"
    path.write_bytes(data[:-1])
    assert is_truncated(path, container)


@pytest.mark.parametrize(
    ("container", "data"),
    [
        (Container.MATROSKA, SEGMENT + b"\x01" + b"\xff" * 7 + bytes(10)),
        (Container.MP4, box(b"ftyp", 16) + b"\0\0\0\0mdat" + bytes(100)),
        (Container.MPEG_PS, bytes(100)),
        (Container.MP4, b""),
        (Container.MATROSKA, b""),
    ],
)
def test_file_without_a_declared_end_is_not_truncated(container: Container, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert not is_truncated(path, container)

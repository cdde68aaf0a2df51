"""A zip that is made while it is sent: programs read it, it has no largest size, and it needs little memory."""

from __future__ import annotations

import asyncio
import shutil
import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serve_app.http.streamed_zip import ZipEntry, stream_zip

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
ZEROS = bytes(16 << 20)


async def chunks(*content: bytes) -> AsyncIterator[bytes]:
    for chunk in content:
        yield chunk


async def entries(*given: ZipEntry) -> AsyncIterator[ZipEntry]:
    for entry in given:
        yield entry


async def write_sparse(path: Path, *given: ZipEntry) -> Path:
    """Writes the archive to a file. Zeros take no room on the disk."""
    with path.open("wb") as file:
        async for block in stream_zip(entries(*given), NOON):
            if block == ZEROS:
                file.seek(len(block), 1)
            else:
                file.write(block)
    return path


async def test_archive_has_its_entries_stored_with_their_names_and_times(tmp_path: Path) -> None:
    path = await write_sparse(
        tmp_path / "a.zip",
        ZipEntry("a.json", chunks(b"[1", b",2]"), 6),
        ZipEntry("videos/ação.mp4", chunks(b"moving pictures")),
        ZipEntry("empty", chunks()),
    )
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "a.json": b"[1,2]",
            "videos/ação.mp4": b"moving pictures",
            "empty": b"",
        }
        assert {(info.compress_type, info.date_time) for info in archive.infolist()} == {
            (zipfile.ZIP_STORED, (2026, 1, 2, 12, 0, 0))
        }


@pytest.mark.skipif(shutil.which("unzip") is None, reason="needs Info-ZIP")
async def test_other_programs_read_it(tmp_path: Path) -> None:
    small = ZipEntry("small", chunks(b"one"), 3)
    path = await write_sparse(tmp_path / "a.zip", small, ZipEntry("unknown", chunks(b"two", b"three")))
    tested = await asyncio.create_subprocess_exec("unzip", "-tq", str(path), stderr=asyncio.subprocess.PIPE)
    _, said = await tested.communicate()
    assert tested.returncode == 0, said


async def test_entries_and_archives_beyond_four_gibibytes_are_whole(tmp_path: Path) -> None:
    count = (4 << 30) // len(ZEROS) + 1
    large = ZipEntry("large", chunks(*[ZEROS] * count), count * len(ZEROS))
    path = await write_sparse(tmp_path / "a.zip", large, ZipEntry("after", chunks(b"the end"), 7))
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("large").file_size == count * len(ZEROS)
        assert archive.getinfo("after").header_offset > 4 << 30
        assert archive.read("after") == b"the end"
        with archive.open("large") as file:
            assert file.read(10) == bytes(10)


async def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    block = bytes(1 << 18)
    total = 0
    tracemalloc.start()
    try:
        async for sent in stream_zip(entries(ZipEntry("large", chunks(*[block] * 400))), NOON):
            total += len(sent)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total > 100 << 20
    assert peak < 4 << 20

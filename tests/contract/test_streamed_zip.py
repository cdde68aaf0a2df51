"""A zip file that is written while it is sent: other programs read it, it may have any size and needs little memory."""

from __future__ import annotations

import asyncio
import gc
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


async def entries(*zip_entries: ZipEntry) -> AsyncIterator[ZipEntry]:
    for entry in zip_entries:
        yield entry


async def write_sparse(path: Path, *zip_entries: ZipEntry) -> Path:
    """Writes the archive to a file. Zeros take no room on the disk."""
    with path.open("wb") as file:
        async for block in stream_zip(entries(*zip_entries), NOON):
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
async def test_unzip_reads_the_archive(tmp_path: Path) -> None:
    small = ZipEntry("small", chunks(b"one"), 3)
    path = await write_sparse(tmp_path / "a.zip", small, ZipEntry("unknown", chunks(b"two", b"three")))
    process = await asyncio.create_subprocess_exec("unzip", "-tq", str(path), stderr=asyncio.subprocess.PIPE)
    _, stderr = await process.communicate()
    assert process.returncode == 0, stderr


async def test_entries_and_archives_beyond_four_gibibytes_are_complete(tmp_path: Path) -> None:
    count = (4 << 30) // len(ZEROS) + 1
    large = ZipEntry("large", chunks(*[ZEROS] * count), count * len(ZEROS))
    path = await write_sparse(tmp_path / "a.zip", large, ZipEntry("after", chunks(b"the end"), 7))
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("large").file_size == count * len(ZEROS)
        assert archive.getinfo("after").header_offset > 4 << 30
        assert archive.read("after") == b"the end"
        with archive.open("large") as file:
            assert file.read(10) == bytes(10)


async def sent_and_peak_bytes(zip_entries: AsyncIterator[ZipEntry]) -> tuple[int, int]:
    """The size of the archive and the peak memory of its creation, in bytes."""
    sent = 0
    tracemalloc.start()
    try:
        async for block in stream_zip(zip_entries, NOON):
            sent += len(block)
        return sent, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_memory_does_not_grow_with_the_size_of_a_file() -> None:
    block = bytes(1 << 18)
    sent, peak = await sent_and_peak_bytes(entries(ZipEntry("large", chunks(*[block] * 400))))
    assert sent > 100 << 20
    assert peak < 4 << 20


async def test_memory_does_not_grow_with_the_number_of_files() -> None:
    async def many() -> AsyncIterator[ZipEntry]:
        for number in range(20_000):
            yield ZipEntry(name_of(number), chunks(b"x"), 1)

    sent, peak = await sent_and_peak_bytes(many())
    assert sent > 5 << 20
    assert peak < 4 << 20


async def test_archive_whose_directory_does_not_fit_in_memory_is_complete(tmp_path: Path) -> None:
    zip_entries = [ZipEntry(name_of(number), chunks(b"%d" % number), 10) for number in range(70_000)]
    with zipfile.ZipFile(await write_sparse(tmp_path / "a.zip", *zip_entries)) as archive:
        assert len(archive.namelist()) == 70_000
        for number in (0, 1, 65_535, 65_536, 69_999):
            assert archive.read(name_of(number)) == b"%d" % number


def name_of(number: int) -> str:
    return f"results/{number:036d}/{'t' * 36}/1/manifest.json"


async def test_abandoned_archive_leaves_nothing_open() -> None:
    async def failing_chunks() -> AsyncIterator[bytes]:
        yield b"one"
        raise ConnectionError("the store is away")

    sent = stream_zip(entries(ZipEntry("first", chunks(b"x")), ZipEntry("second", failing_chunks())), NOON)
    with pytest.raises(ConnectionError):
        async for _ in sent:
            pass
    abandoned = stream_zip(entries(ZipEntry("first", chunks(b"x", b"y"))), NOON)
    assert await anext(abandoned)
    await abandoned.aclose()  # type: ignore[attr-defined]  # the iterator is an async generator
    # A generator that the garbage collector has to close raises a warning, and tests turn warnings into errors.
    gc.collect()

"""A zip that is made while it is sent: programs read it, it has no largest size, and it needs little memory."""

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


async def sent_and_peak_bytes(given: AsyncIterator[ZipEntry]) -> tuple[int, int]:
    """How long the archive is, and the most memory that making it takes."""
    sent = 0
    tracemalloc.start()
    try:
        async for block in stream_zip(given, NOON):
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


async def test_archive_of_more_files_than_its_directory_has_room_for_in_memory_is_whole(tmp_path: Path) -> None:
    given = [ZipEntry(name_of(number), chunks(b"%d" % number), 10) for number in range(70_000)]
    with zipfile.ZipFile(await write_sparse(tmp_path / "a.zip", *given)) as archive:
        assert len(archive.namelist()) == 70_000
        for number in (0, 1, 65_535, 65_536, 69_999):
            assert archive.read(name_of(number)) == b"%d" % number


def name_of(number: int) -> str:
    return f"results/{number:036d}/{'t' * 36}/1/manifest.json"


async def test_archive_that_is_given_up_leaves_nothing_open() -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield b"one"
        raise ConnectionError("the store is away")

    sent = stream_zip(entries(ZipEntry("first", chunks(b"x")), ZipEntry("second", breaking())), NOON)
    with pytest.raises(ConnectionError):
        async for _ in sent:
            pass
    abandoned = stream_zip(entries(ZipEntry("first", chunks(b"x", b"y"))), NOON)
    assert await anext(abandoned)
    await abandoned.aclose()  # type: ignore[attr-defined]
    # What is closed by the collector raises a warning, which is an error here.
    gc.collect()

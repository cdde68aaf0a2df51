"""Multipart bodies in chunks of any size."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.values.error_catalogue import CatalogueError
from serve_app.http.multipart_parser import (
    FRAMING_BYTES,
    PARSE_CHUNK_BYTES,
    MultipartReader,
    boundary_of,
    clean_filename,
)

BOUNDARY = b"----edge"


def body(*parts: tuple[str, bytes]) -> bytes:
    encoded = b"".join(
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (BOUNDARY, disposition.encode(), content)
        for disposition, content in parts
    )
    return encoded + b"--%b--\r\n" % BOUNDARY


async def chunks(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def reader(data: bytes, size: int = 1 << 20, max_bytes: int = 1 << 20) -> MultipartReader:
    return MultipartReader(chunks(data, size), BOUNDARY, max_bytes)


async def read_parts(source: MultipartReader) -> list[tuple[str, str | None, bytes]]:
    return [(part.headers.name, part.headers.filename, await part.read(1 << 30)) async for part in source.parts()]


async def code_of(source: MultipartReader) -> str:
    with pytest.raises(CatalogueError) as error:
        await read_parts(source)
    return error.value.code


@given(content=st.binary(max_size=300), size=st.integers(1, 64), peek=st.integers(0, 100))
async def test_parts_do_not_depend_on_chunk_boundaries(content: bytes, size: int, peek: int) -> None:
    data = body(('name="file"; filename="a.mp4"', content), ('name="spec"', b"{}"))
    parts = []
    async for part in reader(data, size).parts():
        assert (await part.peek(peek)) == (content if part.headers.name == "file" else b"{}")[:peek]
        parts.append((part.headers.name, part.headers.filename, await part.read(1000)))
    assert parts == [("file", "a.mp4", content), ("spec", None, b"{}")]


async def test_content_similar_to_the_boundary_is_kept() -> None:
    content = b"\r\n--" + BOUNDARY[:-1] + b"\r\n--\r\n"
    assert await read_parts(reader(body(('name="file"', content)), 3)) == [("file", None, content)]


async def test_unread_part_is_skipped() -> None:
    data = body(('name="a"', b"x" * 5000), ('name="b"', b"y"))
    assert [part.headers.name async for part in reader(data, 100).parts()] == ["a", "b"]


async def test_large_chunk_is_read_in_small_pieces() -> None:
    data = body(('name="file"', b"x" * (4 * PARSE_CHUNK_BYTES)))
    async for part in reader(data).parts():
        sizes = [len(chunk) async for chunk in part.chunks()]
        assert max(sizes) <= PARSE_CHUNK_BYTES


async def test_contents_above_the_size_limit_are_refused_while_reading() -> None:
    data = body(('name="file"', b"x" * 60), ('name="file"', b"y" * 60))
    assert len(await read_parts(reader(data, max_bytes=120))) == 2
    assert await code_of(reader(data, max_bytes=119)) == "too_large"


async def test_framing_above_its_size_limit_is_refused() -> None:
    data = body(*[('name="file"', b"")] * (FRAMING_BYTES // 50))
    assert await code_of(reader(data, max_bytes=10)) == "too_large"


async def test_bytes_before_the_first_boundary_count_as_framing() -> None:
    assert await code_of(reader(b"x" * (FRAMING_BYTES + 100), 1000, max_bytes=10)) == "too_large"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"rubbish",
        body(('name="file"', b"x"))[:-8],
        b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; name=f\r\n\r\nhalf",
        b"--" + BOUNDARY + b"\r\nContent-Type: text/plain\r\n\r\nx\r\n--" + BOUNDARY + b"--\r\n",
        b"--" + BOUNDARY + b"\r\nContent-Disposition: attachment; name=f\r\n\r\nx\r\n--" + BOUNDARY + b"--\r\n",
        b"--" + BOUNDARY + b"\r\nX: " + b"y" * 10_000 + b"\r\n\r\nx\r\n--" + BOUNDARY + b"--\r\n",
    ],
)
async def test_invalid_multipart_body_is_malformed(data: bytes) -> None:
    assert await code_of(reader(data)) == "malformed_request"


@pytest.mark.parametrize(
    ("disposition", "name", "filename"),
    [
        ('name="file"; filename="caf\u00e9.mp4"', "file", "caf\u00e9.mp4"),
        ('name="file"; filename="a %22b%22 100%.mp4"', "file", 'a "b" 100%.mp4'),
        ('name="file"; filename="a\\"b.mp4"', "file", 'a"b.mp4'),
        ('name="file"; filename="C:\\videos\\a;b.mp4"', "file", "a;b.mp4"),
        ('filename="a.mp4"; name="file"', "file", "a.mp4"),
        ("name=file; filename=a.mp4", "file", "a.mp4"),
        ('name="file"; filename=""', "file", "video"),
        ('name="sp\u00e9c"', "sp\u00e9c", None),
    ],
)
async def test_file_names_of_browsers_and_other_clients_are_read(
    disposition: str, name: str, filename: str | None
) -> None:
    assert await read_parts(reader(body((disposition, b"x")))) == [(name, filename, b"x")]


async def test_invalid_utf_8_in_a_file_name_is_replaced() -> None:
    data = body(('name="file"; filename="caf?.mp4"', b"x")).replace(b"?", b"\xe9")
    assert await read_parts(reader(data)) == [("file", "caf\ufffd.mp4", b"x")]


def test_boundary_is_read_from_the_content_type() -> None:
    assert boundary_of('multipart/form-data; boundary="a b"') == b"a b"
    for wrong, code in [
        (None, "unsupported_media_type"),
        ("application/json", "unsupported_media_type"),
        ("multipart/form-data", "malformed_request"),
        ("multipart/form-data; boundary=" + "x" * 71, "malformed_request"),
    ]:
        with pytest.raises(CatalogueError) as error:
            boundary_of(wrong)
        assert error.value.code == code


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("clip.mp4", "clip.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\videos\\clip.mp4", "clip.mp4"),
        ("a\0b\nc.mp4", "abc.mp4"),
        ("evil\u202e4pm.exe", "evil4pm.exe"),
        ("cafe\u0301.mp4", "café.mp4"),
        ("", "video"),
        ("..", "video"),
        ("   ", "video"),
        ("x" * 300 + ".mp4", "x" * 251 + ".mp4"),
        ("<img src=x onerror=alert(1)>.mp4", "<img src=x onerror=alert(1)>.mp4"),
    ],
)
def test_file_name_loses_folders_and_unprintable_characters(sent: str, kept: str) -> None:
    assert clean_filename(sent) == kept


@given(st.text())
def test_every_file_name_becomes_a_storable_name(name: str) -> None:
    cleaned = clean_filename(name)
    assert 1 <= len(cleaned) <= 255
    assert "\0" not in cleaned
    assert "/" not in cleaned
    cleaned.encode()

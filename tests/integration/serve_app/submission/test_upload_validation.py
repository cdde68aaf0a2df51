"""Invalid files, specifications and forms are refused, and nothing of them is stored."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from serve_app.app import create_app
from serve_app.deps import Deps
from tests.support.clients.api_client import (
    MP4,
    NOTHING_STORED,
    open_client,
    status_and_code,
    stored_state,
    upload_videos,
)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "empty_file"), (b"just some text", "not_a_video"), (b"#EXTM3U\n#EXT-X-VERSION:3\n", "playlist")],
)
async def test_non_video_is_refused_and_stores_nothing(
    ana: httpx.AsyncClient, deps: Deps, content: bytes, code: str
) -> None:
    answer = await upload_videos(ana, ("clip.mp4", content))
    assert status_and_code(answer) == (422, code)
    problem = answer.json()
    assert problem["fault"] == "file"
    assert problem["remedy"]
    assert [error["filename"] for error in problem["errors"]] == ["clip.mp4"]
    assert await stored_state(deps.database, deps.objects) == NOTHING_STORED


async def test_one_invalid_file_refuses_the_request_and_every_invalid_file_is_named(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    files = ("a.mp4", MP4), ("b.mp4", b"text"), ("c.mp4", MP4), ("d.mp4", b"")
    answer = await upload_videos(ana, *files, spec='{"sample": {"fps": 0}}')
    assert answer.status_code == 422
    errors = [(error["part"], error["filename"], error["code"]) for error in answer.json()["errors"]]
    assert errors == [
        ("spec", None, "invalid_spec"),
        ("file", "b.mp4", "not_a_video"),
        ("file", "d.mp4", "empty_file"),
    ]
    assert all(error["detail"] and error["remedy"] for error in answer.json()["errors"])
    assert await stored_state(deps.database, deps.objects) == NOTHING_STORED


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{", (400, "malformed_request")),
        ('{"sample": {"mode": "sometimes"}}', (422, "invalid_spec")),
        ('{"sample": {"fps": 1e99999999999999999999}}', (422, "invalid_field")),
        ('{"snap": "exact", "snap": "keyframe"}', (422, "invalid_field")),
        ('{"frames": 5}', (422, "invalid_spec")),
        ("[]", (422, "invalid_spec")),
        ('{"\\ud800": 1}', (400, "malformed_request")),
    ],
)
async def test_invalid_specification_is_refused_and_stores_nothing(
    ana: httpx.AsyncClient, deps: Deps, spec: str, expected: tuple[int, str]
) -> None:
    assert status_and_code(await upload_videos(ana, ("a.mp4", MP4), spec=spec)) == expected
    assert await stored_state(deps.database, deps.objects) == NOTHING_STORED


async def test_malformed_form_is_refused_with_its_reason(ana: httpx.AsyncClient, deps: Deps) -> None:
    small = replace(deps, request_max_files=2)
    async with open_client(create_app(small), headers=ana.headers) as client:
        assert status_and_code(await upload_videos(client, *[("a.mp4", MP4)] * 3)) == (413, "too_many_files")
    form: Any = [("file", ("a.mp4", MP4)), ("files", ("b.mp4", MP4))]
    unknown = await ana.post("/v1/videos", files=form)
    assert status_and_code(unknown) == (422, "invalid_field")
    assert unknown.json()["errors"][0]["part"] == "files"
    twice: Any = [("file", ("a.mp4", MP4)), ("spec", (None, b"{}")), ("spec", (None, b"{}"))]
    assert status_and_code(await ana.post("/v1/videos", files=twice)) == (422, "invalid_field")
    only_spec: Any = {"spec": (None, b"{}")}
    assert status_and_code(await ana.post("/v1/videos", files=only_spec)) == (422, "no_file")
    assert status_and_code(await ana.post("/v1/videos", json={})) == (415, "unsupported_media_type")
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    cut_body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + MP4
    assert status_and_code(await ana.post("/v1/videos", content=cut_body, headers=headers)) == (
        400,
        "malformed_request",
    )
    assert await stored_state(deps.database, deps.objects) == NOTHING_STORED


async def test_declared_length_above_the_limit_is_refused_before_reading(ana: httpx.AsyncClient, deps: Deps) -> None:
    async def unread_body() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(deps.request_max_bytes * 2)}
    answer = await ana.post("/v1/videos", content=unread_body(), headers=headers)
    assert status_and_code(answer) == (413, "too_large")
    assert int(answer.headers["retry-after"]) > 0


async def test_body_above_the_limit_without_a_length_is_refused_while_reading(
    ana: httpx.AsyncClient, deps: Deps
) -> None:
    async def endless_body() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + MP4
        while True:
            yield MP4

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}
    small = replace(deps, request_max_bytes=100_000)
    async with open_client(create_app(small), headers=ana.headers) as client:
        answer = await client.post("/v1/videos", content=endless_body(), headers=headers)
        assert status_and_code(answer) == (413, "too_large")
        whole = await upload_videos(client, ("a.mp4", MP4 + bytes(100_000 - len(MP4))))
        assert whole.status_code == 201
        assert status_and_code(await upload_videos(client, ("a.mp4", MP4 + bytes(100_001 - len(MP4))))) == (
            413,
            "too_large",
        )
    assert (await stored_state(deps.database, deps.objects))[:2] == (1, 0)


async def test_body_is_never_held_in_memory(ana: httpx.AsyncClient, deps: Deps) -> None:
    size, piece = 24 << 20, bytes(1 << 16)

    async def body() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + MP4
        for _ in range(size // len(piece)):
            yield piece
        yield b"\r\n--x--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}
    tracemalloc.start()
    try:
        answer = await ana.post("/v1/videos", content=body(), headers=headers)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.json()["items"][0]["size"] == size + len(MP4)
    assert peak_bytes < 8 << 20


async def test_request_without_a_length_is_refused(ana: httpx.AsyncClient) -> None:
    request = ana.build_request("POST", "/v1/videos", headers={"Content-Type": "multipart/form-data; boundary=x"})
    del request.headers["Content-Length"]
    assert status_and_code(await ana.send(request)) == (411, "length_required")

"""The HTTP server of a replica: bodies arrive whole, and no faster than the application reads them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serve_app.http.server.body_protocol import READ_BYTES
from serve_app.http.server.socket_server import serve_on_socket

BODY = os.urandom(3 * READ_BYTES + 17)
MAX_MESSAGE_BYTES = 2 * READ_BYTES
PIECE = os.urandom(9973)
SOCKET_BYTES = 1 << 20
"""More than the buffers of a socket on both sides."""


async def digest(request: Request) -> Response:
    whole, sizes = hashlib.sha256(), list[int]()
    async for block in request.stream():
        whole.update(block)
        sizes.append(len(block))
    return JSONResponse({"sha256": whole.hexdigest(), "largest": max(sizes)})


@asynccontextmanager
async def served(app: Starlette, path: Path) -> AsyncIterator[httpx.AsyncClient]:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        async with serve_on_socket(app, bound, drain_seconds=1):
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(transport=transport, base_url="http://replica", timeout=30) as client:
                yield client


async def pieces(step: int) -> AsyncIterator[bytes]:
    for start in range(0, len(BODY), step):
        yield BODY[start : start + step]
        await asyncio.sleep(0)


@pytest.mark.parametrize("step", [len(BODY), READ_BYTES, 9973])
@pytest.mark.parametrize("headers", [{}, {"Content-Length": str(len(BODY))}])
async def test_body_arrives_whole_in_bounded_messages(tmp_path: Path, step: int, headers: dict[str, str]) -> None:
    async with served(Starlette(routes=[Route("/", digest, methods=["POST"])]), tmp_path / "replica.sock") as client:
        for _ in range(2):
            # The second request comes on the same connection.
            answer = (await client.post("/", content=pieces(step), headers=headers)).json()
            assert answer["sha256"] == hashlib.sha256(BODY).hexdigest()
            assert answer["largest"] <= MAX_MESSAGE_BYTES


async def test_requests_on_many_connections_keep_their_own_bodies(tmp_path: Path) -> None:
    async with served(Starlette(routes=[Route("/", digest, methods=["POST"])]), tmp_path / "replica.sock") as client:
        bodies = [bytes([number]) * (READ_BYTES + number) for number in range(16)]
        answers = await asyncio.gather(*(client.post("/", content=body) for body in bodies))
    assert [json.loads(answer.content)["sha256"] for answer in answers] == [
        hashlib.sha256(body).hexdigest() for body in bodies
    ]


async def test_server_reads_no_further_ahead_than_one_message(tmp_path: Path) -> None:
    is_read = asyncio.Event()

    async def wait_first(request: Request) -> Response:
        await is_read.wait()
        return await digest(request)

    taken, sent = 0, hashlib.sha256()

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < 8 * SOCKET_BYTES:
            taken += len(PIECE)
            sent.update(PIECE)
            yield PIECE

    async with served(
        Starlette(routes=[Route("/", wait_first, methods=["POST"])]), tmp_path / "replica.sock"
    ) as client:
        answer = asyncio.create_task(client.post("/", content=counted()))
        before = 0
        async with asyncio.timeout(60):
            while taken == 0 or taken > before:
                before = taken
                await asyncio.sleep(0.3)
        assert taken < MAX_MESSAGE_BYTES + SOCKET_BYTES
        is_read.set()
        assert (await answer).json()["sha256"] == sent.hexdigest()

"""Requests of uploads by tus 1.0.0 that are interrupted, or whose length is wrong.

The acceptance tests run the same cases against the running service.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from tests.support.clients import tus_client
from tests.support.clients.api_client import MP4
from tests.support.state.stores import Stores

CONTENT = MP4 + bytes(3 << 20)
SENT = CONTENT[: -1 << 20]


@asynccontextmanager
async def raw_patch(
    port: int, client: httpx.AsyncClient, path: str, sent: bytes, headers: Mapping[str, str]
) -> AsyncIterator[asyncio.StreamReader]:
    """Sends a PATCH with this body, yields the reader of its answer, and closes the connection after the block."""
    default_headers = {
        "Host": "fotograma.test",
        "Authorization": client.headers["Authorization"],
        "Tus-Resumable": "1.0.0",
        "Content-Type": tus_client.CHUNK,
        "Upload-Offset": "0",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in (default_headers | dict(headers)).items())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"PATCH {path} HTTP/1.1\r\n{head}\r\n".encode() + sent)
        await writer.drain()
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def wait_until_staged(stores: Stores) -> None:
    """Waits until the first bytes of a chunk are on the disk."""
    async with asyncio.timeout(60):
        while not stores.staged_bytes():
            await asyncio.sleep(0.01)


class TestTusBrokenRequests:
    """Requests whose body does not match their headers."""

    async def test_interrupted_request_keeps_the_bytes_that_arrived(
        self, ana: httpx.AsyncClient, stores: Stores, port: int
    ) -> None:
        path = await tus_client.open_upload(ana, len(CONTENT))
        async with raw_patch(port, ana, path, SENT, {"Content-Length": str(len(CONTENT))}):
            await wait_until_staged(stores)
        async with asyncio.timeout(60):
            while not (offset := await tus_client.committed_offset(ana, path)):
                await asyncio.sleep(0.01)
        assert 1 << 20 <= offset <= len(SENT)
        assert (await tus_client.patch(ana, path, offset, CONTENT[offset:])).status_code == 204
        assert await tus_client.stored_bytes(stores.database, stores.objects, tus_client.id_of(path)) == CONTENT

    async def test_interrupted_request_with_a_checksum_keeps_nothing(
        self, ana: httpx.AsyncClient, stores: Stores, port: int
    ) -> None:
        path = await tus_client.open_upload(ana, len(CONTENT))
        headers = {"Content-Length": str(len(CONTENT))} | tus_client.checksum(CONTENT)
        async with raw_patch(port, ana, path, SENT, headers):
            await wait_until_staged(stores)
        async with asyncio.timeout(60):
            # A chunk that is complete is stored before it is removed.
            while stores.staged_bytes() or await tus_client.chunk_keys(stores.objects, path):
                await asyncio.sleep(0.01)
        assert await tus_client.committed_offset(ana, path) == 0

    async def test_bytes_after_the_declared_length_are_not_part_of_the_upload(
        self, ana: httpx.AsyncClient, stores: Stores, port: int
    ) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        async with raw_patch(port, ana, path, MP4, {"Content-Length": "3000"}) as answer:
            # The remaining bytes are not a valid HTTP request. A server may refuse both requests because of them.
            assert (await answer.readline()).split()[1] in (b"204", b"400")
        status = 409
        async with asyncio.timeout(60):
            # After its refusal the server may still store the first request. The offset then moves once more.
            while status == 409:
                offset = await tus_client.committed_offset(ana, path)
                assert offset in (0, 3000)
                status = (await tus_client.patch(ana, path, offset, MP4[offset:])).status_code
        assert status == 204
        assert await tus_client.stored_bytes(stores.database, stores.objects, tus_client.id_of(path)) == MP4

    @pytest.mark.parametrize(
        "lengths",
        [
            {"Content-Length": "-1"},
            {"Content-Length": "1e3"},
            {"Content-Length": "9" * 30},
            {"Content-Length": "10, 20"},
            {"Transfer-Encoding": "chunked"},
        ],
    )
    async def test_malformed_length_is_refused_and_the_offset_stays(
        self, ana: httpx.AsyncClient, stores: Stores, port: int, lengths: Mapping[str, str]
    ) -> None:
        path = await tus_client.open_upload(ana, len(MP4))
        async with raw_patch(port, ana, path, MP4, lengths) as answer, asyncio.timeout(60):
            assert (await answer.readline()).split()[1:2] == [b"400"]
        assert await tus_client.committed_offset(ana, path) == 0
        assert await tus_client.chunk_keys(stores.objects, path) == []

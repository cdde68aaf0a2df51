"""A proxy between a client and PostgreSQL that lets a COMMIT through and drops its answer.

Source of the message format: PostgreSQL manual, "Frontend/Backend Protocol".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

COMMIT = b"QCOMMIT"
SOCKET = ".s.PGSQL.5432"


class AnswerProxy:
    """Listens on a socket in a folder of its own. dropped: how many answers it has not passed on."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._commits_to_pass: int | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.dropped = 0

    def drop_after(self, commits: int) -> None:
        """Lets this many COMMITs pass, then drops the answer to the next COMMIT, once."""
        self._commits_to_pass = commits

    def stop_dropping(self) -> None:
        """Passes every further answer on."""
        self._commits_to_pass = None

    @asynccontextmanager
    async def listening(self, folder: Path) -> AsyncIterator[None]:
        folder.mkdir()
        listener = await asyncio.start_unix_server(self._accept, folder / SOCKET)
        try:
            yield
        finally:
            listener.close()
            for connection in self._serving:
                connection.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._serve(client, to_client)))

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(self._server / SOCKET)
        connection = _Connection(self, client, to_client, server, to_server)
        directions = [
            asyncio.create_task(connection.forward_requests()),
            asyncio.create_task(connection.forward_answers()),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            for writer in (to_client, to_server):
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    def should_drop(self) -> bool:
        """Whether the answer to this COMMIT is to be dropped; counts the COMMIT."""
        if self._commits_to_pass is None:
            return False
        self._commits_to_pass -= 1
        if self._commits_to_pass >= 0:
            return False
        self._commits_to_pass = None
        return True


class _Connection:
    def __init__(
        self,
        proxy: AnswerProxy,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._proxy, self._client, self._to_client = proxy, client, to_client
        self._server, self._to_server = server, to_server
        self._drops_answer = False

    async def forward_requests(self) -> None:
        """Passes the client's messages to the server. The first message has no type byte."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            self._to_server.write(await _body(self._client))
            while True:
                kind = await self._client.readexactly(1)
                body = await _body(self._client)
                if (kind + body[4:]).rstrip(b"\0; ").upper() == COMMIT and self._proxy.should_drop():
                    self._drops_answer = True
                self._to_server.write(kind + body)
                await self._to_server.drain()

    async def forward_answers(self) -> None:
        """Passes the server's messages to the client; returns when the answer to drop is completely read."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind = await self._server.readexactly(1)
                body = await _body(self._server)
                if not self._drops_answer:
                    self._to_client.write(kind + body)
                    await self._to_client.drain()
                elif kind == b"Z":
                    self._proxy.dropped += 1
                    return


async def _body(reader: asyncio.StreamReader) -> bytes:
    length = await reader.readexactly(4)
    return length + await reader.readexactly(int.from_bytes(length, "big") - 4)

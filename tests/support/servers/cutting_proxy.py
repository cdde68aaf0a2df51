"""A TCP proxy that cuts connections after a number of the client's bytes. Its target may change."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

BLOCK_BYTES = 1 << 16


class ConnectionCut(ConnectionAbortedError):
    """The proxy has cut the connection."""


class CuttingProxy:
    """cuts: for each next connection, after how many bytes of the client it is cut; None: it is not cut. A connection
    that ends earlier leaves its cut to the next one. When they are used up, no connection is cut. target_port: where
    new connections go; None refuses them. received: bytes from clients so far. stall_after_bytes: after this many
    received bytes nothing more is forwarded, and `stalled` is set.
    """

    def __init__(self, target_port: int | None, cuts: Iterable[int | None] = ()) -> None:
        self.target_port = target_port
        self.received = 0
        self.stalled = asyncio.Event()
        self.cut_connections = 0
        self.stall_after_bytes: int | None = None
        self._cuts = deque(cuts)
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[str]:
        """Yields the address."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self.cut_all()
            await asyncio.gather(*self._serving)

    def cut_all(self) -> None:
        """Cuts all open connections at once."""
        for writer in list(self._writers):
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.target_port is not None:
                with suppress(OSError):
                    await self._connect(reader, writer, self.target_port)
        finally:
            await _abort(writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        both = {writer, server_writer}
        self._writers |= both
        answering = asyncio.create_task(self._answer(server_reader, writer))
        cut = self._cuts.popleft() if self._cuts else None
        forwarding = asyncio.create_task(self._forward(reader, server_writer, cut))
        try:
            await asyncio.wait((answering, forwarding), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                await forwarding
                await answering
        finally:
            # What is stalled ends with the server's side of the connection.
            forwarding.cancel()
            self._writers -= both
            await _abort(*both)
            end, _ = await asyncio.gather(forwarding, answering, return_exceptions=True)
            if cut is not None and not isinstance(end, ConnectionCut):
                self._cuts.appendleft(cut)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_until_cut: int | None
    ) -> None:
        while block := await reader.read(BLOCK_BYTES if bytes_until_cut is None else min(BLOCK_BYTES, bytes_until_cut)):
            self.received += len(block)
            writer.write(block)
            await writer.drain()
            if self.stall_after_bytes is not None and self.received >= self.stall_after_bytes:
                self.stalled.set()
                await asyncio.Event().wait()
            if bytes_until_cut is not None and (bytes_until_cut := bytes_until_cut - len(block)) <= 0:
                self.cut_connections += 1
                raise ConnectionCut
        writer.write_eof()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while block := await reader.read(BLOCK_BYTES):
                writer.write(block)
                await writer.drain()
        writer.transport.abort() if writer.is_closing() else writer.close()


async def _abort(*writers: asyncio.StreamWriter) -> None:
    """Ends connections at once. Returns when they are closed."""
    for writer in writers:
        writer.transport.abort()
    for writer in writers:
        with suppress(OSError):
            await writer.wait_closed()

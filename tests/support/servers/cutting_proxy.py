"""A TCP proxy that cuts connections after a number of the client's bytes. Its target may change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress

BLOCK_BYTES = 1 << 16


class CuttingProxy:
    """cuts: for each next connection, after how many bytes of the client it is cut; None: it is not cut. When they are
    used up, no connection is cut. target_port: where new connections go; None refuses them. received: bytes from
    clients so far. stall_after_bytes: after this many received bytes nothing more is forwarded, and `stalled` is set.
    """

    def __init__(self, target_port: int | None, cuts: Iterable[int | None] = ()) -> None:
        self.target_port = target_port
        self.received = 0
        self.stalled = asyncio.Event()
        self.cut_connections = 0
        self.stall_after_bytes: int | None = None
        self._cuts: Iterator[int | None] = iter(cuts)
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[str]:
        """Yields the address."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self.cut_all()

    def cut_all(self) -> None:
        """Cuts all open connections at once."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            if self.target_port is None:
                return writer.transport.abort()
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            both = {writer, server_writer}
            self._writers |= both
            try:
                answering = asyncio.create_task(self._answer(server_reader, writer))
                await self._forward(reader, server_writer, next(self._cuts, None))
                await answering
            finally:
                self._writers -= both
                for either in both:
                    either.transport.abort()
        return None

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
                raise ConnectionAbortedError
        writer.write_eof()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while block := await reader.read(BLOCK_BYTES):
                writer.write(block)
                await writer.drain()
        writer.transport.abort() if writer.is_closing() else writer.close()

"""An HTTP server for an application, on a given socket and in the event loop that runs already."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

KEEP_ALIVE_SECONDS = 60


class _Server(uvicorn.Server):
    """`listens` is set when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leaves the signals to the process: this server is only a part of it."""
        yield


@asynccontextmanager
async def listening(app: ASGIApp, bound: socket.socket, *, drain_seconds: float) -> AsyncIterator[None]:
    """Serves the application. At the end, running requests may continue for `drain_seconds`; then they are cancelled.

    The server reads a body only as fast as the application does, so a slow application needs no memory for it. It
    trusts the X-Forwarded-For header of everyone who can connect.
    """
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            ws="none",
            forwarded_allow_ips="*",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(drain_seconds)),
        )
    )
    serving = asyncio.create_task(server.serve([bound]))
    listens = asyncio.create_task(server.listens.wait())
    try:
        await asyncio.wait((serving, listens), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            # It could not listen. This raises the reason.
            await serving
        yield
    finally:
        listens.cancel()
        server.should_exit = True
        await serving

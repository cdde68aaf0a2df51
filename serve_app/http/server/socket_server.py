"""Serves an application over HTTP on a given socket, in the running event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from serve_app.http.server.body_protocol import BodyProtocol

KEEP_ALIVE_SECONDS = 60


class _Server(uvicorn.Server):
    """is_listening: set when the server listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leaves the signals to the process: this server is only a part of it."""
        yield


@asynccontextmanager
async def serve_on_socket(app: ASGIApp, bound: socket.socket, *, drain_seconds: float) -> AsyncIterator[None]:
    """Serves the application. At the end, running requests may continue for `drain_seconds`; then they are cancelled.

    The server reads a body only as fast as the application does, so a slow application needs no memory for it. It
    trusts the X-Forwarded-For header of every client.
    """
    server = _Server(
        uvicorn.Config(
            app,
            http=BodyProtocol,  # type: ignore[arg-type]  # uvicorn calls it as it calls its own
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
    listening = asyncio.create_task(server.is_listening.wait())
    try:
        await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            # It could not listen. This raises the reason.
            await serving
        yield
    finally:
        listening.cancel()
        server.should_exit = True
        await serving

"""The plain servers to compare with: a Starlette application that writes bodies to files, and one that sends a file.

`python -m benchmarks.upload.plain_server PORT FOLDER` serves both with uvicorn until standard input ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import uuid
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

DOWNLOAD = "download"
"""The file that it sends."""


def disk_writer(folder: Path) -> Starlette:
    """POST / writes the body to a new file. GET / sends the file DOWNLOAD."""

    async def write(request: Request) -> Response:
        """As durable as an object of the store: fsync of the file and of its folder before the answer."""
        with (folder / uuid.uuid4().hex).open("wb", buffering=0) as file:
            async for block in request.stream():
                # The page cache takes it in microseconds. A thread would cost more than it gives.
                file.write(block)
            await asyncio.to_thread(os.fsync, file.fileno())
        await asyncio.to_thread(_sync_folder, folder)
        return Response(status_code=204)

    async def send(request: Request) -> Response:
        return FileResponse(folder / DOWNLOAD)

    return Starlette(routes=[Route("/", write, methods=["POST"]), Route("/", send, methods=["GET"])])


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def serve_until_input_ends(app: Starlette, port: int) -> None:
    """Prints a line when requests can come."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False, ws="none"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve_until_input_ends(disk_writer(Path(sys.argv[2])), int(sys.argv[1]))

"""Listens as a replica of the API does, in the folder that is its argument, until its standard input ends.

Prints `listens` once it listens. Creates the file `asked` when a slow request has begun.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from serve_app.http.server.replica_sockets import bound_socket, socket_paths
from serve_app.http.server.socket_server import serve_on_socket


async def who(request: Request) -> Response:
    return JSONResponse({"pid": os.getpid(), "client": request.client.host if request.client else None})


async def never(request: Request) -> Response:
    request.app.state.asked.touch()
    await asyncio.sleep(600)
    return Response()


async def short(request: Request) -> Response:
    request.app.state.asked.touch()
    await asyncio.sleep(1)
    return PlainTextResponse("done")


async def readyz(_request: Request) -> Response:
    return JSONResponse({"parts": {"database": "ok"}})


async def run(folder: Path) -> None:
    app = Starlette(
        routes=[
            Route(f"/{endpoint.__name__}", endpoint, methods=["GET", "POST"])
            for endpoint in (who, never, short, readyz)
        ]
    )
    app.routes.append(Route("/v1/events", never))
    app.state.asked = folder / "asked"
    with bound_socket(socket_paths(folder, 1)) as bound:
        async with serve_on_socket(app, bound, drain_seconds=5):
            print("listens", flush=True)
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))

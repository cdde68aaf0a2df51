"""An application that reads the body of a request and discards it, as fast as it can or at a given rate."""

from __future__ import annotations

import asyncio
import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def read(request: Request) -> Response:
    """POST /?rate=N reads N bytes a second, like a store of that speed; without `rate` it reads as fast as it can."""
    rate = float(request.query_params.get("rate", 0))
    size, start = 0, time.monotonic()
    async for chunk in request.stream():
        size += len(chunk)
        ahead = size / rate - (time.monotonic() - start) if rate else 0.0
        if ahead > 0.001:
            await asyncio.sleep(ahead)
    return JSONResponse({"bytes": size})


def body_reader(**more: object) -> Starlette:
    return Starlette(routes=[Route("/", read, methods=["POST"])], **more)  # type: ignore[arg-type]  # arguments of any kind

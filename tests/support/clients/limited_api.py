"""The API with small limits, and requests whose body must stay unread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from db.cache import Cache
from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.security.rate_limit import RateLimit
from tests.support.clients import api_client

ONE_PER_HOUR = RateLimit(burst=1, refill_seconds=3600)


@asynccontextmanager
async def open_limited_api(
    deps: Deps, tmp_path: Path, *, cache: Cache | None = None, **limits: Any
) -> AsyncIterator[Any]:
    """Yields dependencies with these limits, and a client that is logged in."""
    limited_deps = api_client.make_deps(
        deps.database, tmp_path / "objects", cache or deps.cache, limits=api_client.make_limits(**limits)
    )
    async with api_client.open_client(create_app(limited_deps)) as client:
        await api_client.log_in(client)
        yield limited_deps, client
    limited_deps.password_hasher.close()


class UnreadBody:
    """A request body that records whether it is read."""

    def __init__(self) -> None:
        self.is_read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.is_read = True
        yield b"x"


async def send_unread(client: httpx.AsyncClient, size: int = 1000) -> httpx.Response:
    """Sends an upload of this many bytes, and asserts that its body is not read."""
    body = UnreadBody()
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(size)}
    answer = await client.post("/v1/videos", content=body, headers=headers)
    assert not body.is_read
    return answer


def assert_refused(answer: httpx.Response, status: int, code: str, fault: str) -> int:
    """Checks the refusal. Returns the seconds of its Retry-After."""
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["fault"]) == (status, code, fault), answer.text
    assert problem["remedy"]
    seconds = int(answer.headers["retry-after"])
    assert seconds >= 1
    return seconds

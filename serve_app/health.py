"""Whether this process lives, and whether it can accept now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from db import database, migrate
from db.errors import FotogramaError
from serve_app.answers import answer
from serve_app.deps import Deps, deps_of

CHECK_SECONDS = 3.0

log = structlog.get_logger(__name__)


async def alive(_request: Request) -> Response:
    """GET /healthz"""
    return answer({"status": "alive"})


async def ready(request: Request) -> Response:
    """GET /readyz: 503 when a part that accepting needs is away; the cache is told but not needed."""
    deps = deps_of(request)
    names = ("database", "migrations", "objects")
    states = await asyncio.gather(
        _state("database", lambda: database.check(deps.engine)),
        _state("migrations", lambda: _migrated(deps)),
        _state("objects", deps.objects.check),
    )
    parts = dict(zip(names, states, strict=True))
    is_ready = all(state == "ok" for state in parts.values())
    cache = "ok" if await deps.cache.is_there() else "away"
    body = {"status": "ready" if is_ready else "not_ready", "parts": {**parts, "cache": cache}}
    return answer(body, 200 if is_ready else 503, None if is_ready else {"Retry-After": "2"})


class _OldSchema(Exception):
    """The database has another schema than this code."""


async def _migrated(deps: Deps) -> None:
    if not await migrate.is_current(deps.engine):
        raise _OldSchema


async def _state(name: str, check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except _OldSchema:
        return "behind"
    except (FotogramaError, SQLAlchemyError, OSError) as error:
        log.warning("A part is away.", event_name="health.away", part=name, error=type(error).__name__)
        return "away"
    return "ok"

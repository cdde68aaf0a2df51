"""Liveness of this process, and readiness of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import orjson
import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from db import connection, operator_controls, schema_revision
from db.values.error_catalogue import CatalogueError
from serve_app.deps import Deps, deps_of
from serve_app.http.json_response import JsonResponse
from serve_app.http.problem_details import ProblemError

CHECK_SECONDS = 3.0
READY_RETRY_SECONDS = 2

log = structlog.get_logger(__name__)


async def show_liveness(_request: Request) -> Response:
    """GET /healthz"""
    return JsonResponse({"status": "alive"})


async def show_readiness(request: Request) -> Response:
    """GET /readyz: 503 when a part that accepting needs is away or full. The cache is shown but not needed.

    A part that is away is `restarting` when the supervisor starts it again. A paused service is ready: otherwise
    nothing would be routed to it, and no result could be fetched.
    """
    deps = deps_of(request)
    names = ("database", "migrations", "objects", "storage")
    states = await asyncio.gather(
        _check_part("database", lambda: connection.check(deps.database)),
        _check_part("migrations", lambda: _check_migrations(deps)),
        _check_part("objects", deps.objects.check),
        _check_part("storage", lambda: _check_storage(deps)),
    )
    restarting = await _restarting_parts(deps)
    parts = {
        name: "restarting" if state == "away" and name in restarting else state
        for name, state in zip(names, states, strict=True)
    }
    unusable = ", ".join(f"{name} ({state})" for name, state in parts.items() if state != "ok")
    away = "restarting" if "cache" in restarting else "away"
    parts["cache"] = "ok" if await deps.cache.is_there() else away
    if unusable:
        detail = f"Nothing can be accepted now: {unusable}."
        raise ProblemError("unavailable", detail, retry_after=READY_RETRY_SECONDS, extensions={"parts": parts})
    pauses = await operator_controls.pauses(deps.database)
    return JsonResponse({"status": "ready", "parts": parts, "paused": pauses.activities})


async def _restarting_parts(deps: Deps) -> Collection[str]:
    """The parts that the supervisor starts again."""
    if deps.supervisor_state is None:
        return ()
    try:
        states = orjson.loads(await asyncio.to_thread(deps.supervisor_state.read_bytes))
    except (OSError, ValueError):
        return ()
    return {name for name, state in states.items() if state == "restarting"}


class _UnusablePart(Exception):
    """A part answers but can't be used. The text is its state: `behind` or `full`."""


async def _check_migrations(deps: Deps) -> None:
    if not await schema_revision.is_current(deps.database):
        raise _UnusablePart("behind")


async def _check_storage(deps: Deps) -> None:
    free = await deps.objects.free_bytes()
    if free is not None and free < deps.limits.min_free_bytes:
        raise _UnusablePart("full")


async def _check_part(name: str, check: Callable[[], Awaitable[object]]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except _UnusablePart as error:
        return str(error)
    except (CatalogueError, SQLAlchemyError, OSError) as error:
        log.warning(
            "A part of the service does not work.", event_name="part.failed", part=name, error=type(error).__name__
        )
        return "away"
    return "ok"

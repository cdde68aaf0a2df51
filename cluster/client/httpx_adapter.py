"""What both clients say to httpx, and what its words mean here."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TypedDict

import httpx

from cluster.client.effects import ConnectionLost, Reply, Request

CONNECTIONS = 16
# This machine is never reached through a proxy, whatever the environment says of others.
DIRECT = ("all://127.0.0.1", "all://localhost", "all://[::1]")
# No limit on the wait for a free connection: many calls at once queue here, and that is no failure.
TIMEOUT = httpx.Timeout(120.0, connect=10.0, pool=None)
LIMITS = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)

CONTENT = frozenset({200, 206})
"""Statuses whose body is the content that was asked for."""

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Arguments(TypedDict):
    """Of `httpx.Client` and `httpx.AsyncClient` alike."""

    base_url: str
    timeout: httpx.Timeout
    limits: httpx.Limits
    headers: dict[str, str]
    mounts: dict[str, None]


def arguments(base_url: str, timeout_seconds: float | None) -> Arguments:
    timeout = TIMEOUT if timeout_seconds is None else httpx.Timeout(timeout_seconds, pool=None)
    accept = {"Accept": "application/json, */*;q=0.1"}
    return Arguments(
        base_url=base_url, timeout=timeout, limits=LIMITS, headers=accept, mounts=dict.fromkeys(DIRECT, None)
    )


def headers(request: Request) -> dict[str, str]:
    """The request's headers, those of its body included."""
    if request.body is None or isinstance(request.body, bytes):
        return dict(request.headers)
    body = request.body
    return {**request.headers, "Content-Type": body.content_type, "Content-Length": str(body.length)}


def reply(response: httpx.Response, content: bytes) -> Reply:
    """An answer without a Date gets that of its arrival (RFC 9110 §6.6.1)."""
    arrived = {"date": format_datetime(datetime.now(UTC), usegmt=True)}
    told = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, arrived | told, content)


def lost(error: httpx.TransportError) -> ConnectionLost:
    return ConnectionLost(str(error) or type(error).__name__, unsent=isinstance(error, _UNSENT))

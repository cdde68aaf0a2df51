"""The adapter to httpx that both clients share: arguments, headers, replies and connection errors."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from typing import TypedDict

import httpx

from cluster.client.effects import ConnectionLost, Reply, Request
from cluster.client.errors import FotogramaError, InvalidArgument, UnexpectedAnswer

CONNECTIONS = 16
# Addresses of this machine never go through a proxy, also when the environment names one.
DIRECT = ("all://127.0.0.1", "all://localhost", "all://[::1]")
# No timeout for a free connection: many concurrent calls may wait for one.
TIMEOUT = httpx.Timeout(120.0, connect=10.0, pool=None)
LIMITS = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)

CONTENT_STATUSES = frozenset({200, 206})
"""Statuses with the requested content as the body."""

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class ClientArguments(TypedDict):
    """Keyword arguments of both `httpx.Client` and `httpx.AsyncClient`."""

    base_url: str
    timeout: httpx.Timeout
    limits: httpx.Limits
    headers: dict[str, str]
    verify: ssl.SSLContext
    mounts: dict[str, None]


def client_arguments(base_url: str, timeout_seconds: float | None) -> ClientArguments:
    timeout = TIMEOUT if timeout_seconds is None else httpx.Timeout(timeout_seconds, pool=None)
    accept = {"Accept": "application/json, */*;q=0.1"}
    return ClientArguments(
        base_url=base_url,
        timeout=timeout,
        limits=LIMITS,
        headers=accept,
        verify=_tls_context(),
        mounts=dict.fromkeys(DIRECT, None),
    )


@cache
def _tls_context() -> ssl.SSLContext:
    """One for all clients of a process: to load the certificates of all authorities takes 20 ms."""
    return httpx.create_ssl_context()


def headers(request: Request) -> dict[str, str]:
    """Returns the request's headers with those of its body."""
    if request.body is None or isinstance(request.body, bytes):
        return dict(request.headers)
    body = request.body
    return {**request.headers, "Content-Type": body.content_type, "Content-Length": str(body.length)}


def reply(response: httpx.Response, content: bytes) -> Reply:
    """Converts a response. Adds a missing Date, the time of arrival (RFC 9110 §6.6.1)."""
    default_date = {"date": format_datetime(datetime.now(UTC), usegmt=True)}
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, default_date | headers, content)


FAILURES = (httpx.RequestError, httpx.InvalidURL, httpx.StreamError, UnicodeEncodeError)
"""What httpx raises for a request that gets no whole response."""


def explained(error: Exception) -> ConnectionLost | FotogramaError:
    """Returns one of FAILURES as an error of the SDK: what another try can mend is a lost connection."""
    match error:
        case UnicodeEncodeError() | httpx.LocalProtocolError():
            return InvalidArgument(f"A header of the request can't be written: {error}")
        case httpx.InvalidURL() | httpx.UnsupportedProtocol() | httpx.TooManyRedirects():
            return UnexpectedAnswer(f"The server redirects to an address that can't be used: {error}")
        case _:
            return ConnectionLost(str(error) or type(error).__name__, unsent=isinstance(error, _UNSENT))


def closed_client() -> FotogramaError:
    """The error of a call after `close`."""
    return FotogramaError("The client is closed.", code="client_closed", fault="request", remedy="Open a new client.")

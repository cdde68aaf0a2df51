"""HTTP POST to URLs that users have chosen: addresses are checked (SSRF), no redirects, bounded time and size.

A name is resolved once, and the connection goes to the address that was checked. So a name that resolves differently
the second time (DNS rebinding) has no effect.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

import httpcore

from db.notification.webhook_url_policy import Reach, allows

ANSWER_SECONDS = 15.0
"""From resolving the name to the status of the response."""
BODY_SECONDS = 2.0
BODY_BYTES = 1 << 16
"""How much of a response body is read. It is discarded; reading it avoids a reset of the connection."""
RESOLVING_THREADS = 32

_FAILURES = (
    OSError,
    TimeoutError,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)


class NoHttpResponseError(Exception):
    """No HTTP response arrived. The text is the reason."""


class AddressCheckingBackend(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that `reach` allows.

    Resolves names in its own threads: a name server that hangs blocks no other work.
    """

    def __init__(self, reach: Reach, resolving: ThreadPoolExecutor) -> None:
        self._reach, self._resolving = reach, resolving
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises httpcore.ConnectError when no address is allowed, or none accepts a connection."""
        refused: Exception = httpcore.ConnectError("its name leads to no address that may be reached")
        for address in await self._allowed(host, port):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                refused = error
        raise refused

    async def _allowed(self, host: str, port: int) -> list[str]:
        resolving = asyncio.get_running_loop().run_in_executor(self._resolving, _resolve, host, port)
        return [str(address) for address in await resolving if allows(self._reach, address)]


def _resolve(host: str, port: int) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("its host is not a name") from error
    # ip_address does not take the zone of a link-local address (%eth0).
    return list(dict.fromkeys(ipaddress.ip_address(str(place[0]).partition("%")[0]) for *_, place in found))


class WebhookHttpClient:
    """Posts JSON to webhook receivers."""

    def __init__(self, reach: Reach, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds
        self._agent = f"Fotograma/{version('fotograma')}"
        self._resolving = ThreadPoolExecutor(RESOLVING_THREADS, "resolve")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=None,
            max_keepalive_connections=0,
            network_backend=AddressCheckingBackend(reach, self._resolving),
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Returns the status, 3xx included: redirects are not followed. Raises NoHttpResponseError."""
        sent = {"Content-Type": "application/json", "User-Agent": self._agent, **headers}
        try:
            async with self._answered(url, sent, body) as response:
                with suppress(*_FAILURES):
                    async with asyncio.timeout(BODY_SECONDS):
                        await _discard_body(response)
                return response.status
        except TimeoutError as error:
            raise NoHttpResponseError(f"no answer in {self._answer_seconds:g} s") from error
        except _FAILURES as error:
            raise NoHttpResponseError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        await self._pool.aclose()
        self._resolving.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def _answered(self, url: str, headers: Mapping[str, str], body: bytes) -> AsyncIterator[httpcore.Response]:
        request = self._pool.stream("POST", url, headers=list(headers.items()), content=body)
        async with asyncio.timeout(self._answer_seconds):
            response = await request.__aenter__()
        try:
            yield response
        finally:
            await request.__aexit__(None, None, None)


async def _discard_body(response: httpcore.Response) -> None:
    read = 0
    async for chunk in response.aiter_stream():
        read += len(chunk)
        if read > BODY_BYTES:
            return

"""The HTTP client of webhooks connects to allowed addresses only, and reads no endless response."""

import asyncio
import socket
from typing import Any

import pytest

from actors.notify.ssrf_safe_http import NoHttpResponseError, WebhookHttpClient
from db.notification.webhook_url_policy import Reach
from tests.support.servers.webhook_receiver import WebhookReceiver


@pytest.mark.parametrize("reach", list(Reach))
async def test_host_that_resolves_to_a_forbidden_address_is_not_connected(
    reach: Reach, receiver: WebhookReceiver
) -> None:
    webhook_client = WebhookHttpClient(reach)
    url = receiver.url.replace("127.0.0.1", "localhost")
    try:
        if reach is Reach.PUBLIC:
            with pytest.raises(NoHttpResponseError, match="no address that may be reached"):
                await webhook_client.post(url, {}, b"{}")
            assert receiver.received == []
        else:
            assert await webhook_client.post(url, {}, b"{}") == 204
    finally:
        await webhook_client.close()


async def test_connection_uses_the_checked_address(monkeypatch: pytest.MonkeyPatch, receiver: WebhookReceiver) -> None:
    """A name whose second resolution gives another address is resolved only once."""
    resolved_hosts, real_getaddrinfo = [], socket.getaddrinfo

    def resolve_differently(host: str, port: int, *more: Any, **options: Any) -> Any:
        if host != "rebind.example":
            return real_getaddrinfo(host, port, *more, **options)
        resolved_hosts.append(host)
        address = "127.0.0.1" if len(resolved_hosts) == 1 else "10.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve_differently)
    webhook_client = WebhookHttpClient(Reach.LOOPBACK)
    url = receiver.url.replace("127.0.0.1", "rebind.example")
    assert await webhook_client.post(url, {}, b"{}") == 204
    assert resolved_hosts == ["rebind.example"]
    assert receiver.received[0][0]["host"].startswith("rebind.example:")
    with pytest.raises(NoHttpResponseError, match="no address that may be reached"):
        await webhook_client.post(url, {}, b"{}")
    await webhook_client.close()


async def test_endless_response_body_is_not_read(webhook_client: WebhookHttpClient) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await webhook_client.post(f"http://127.0.0.1:{port}/", {}, b"{}") == 200
    await asyncio.wait_for(ended.wait(), 30)
    server.close()

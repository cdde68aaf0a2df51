"""A webhook receiver on a real port, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.clients.api_client import listen


@dataclass
class WebhookReceiver:
    """statuses: of the next responses; after them 204. response_headers: of every response.

    received: the headers and the body of each request. hanging: while it is set, a request gets no response until
    `released` is set.
    """

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    response_headers: dict[str, str] = field(default_factory=dict)
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    hanging: bool = False
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.received]

    def verified(self, secret: str) -> list[Any]:
        """The bodies of the requests, with their signatures verified. Raises WebhookVerificationError."""
        return [Webhook(secret).verify(body, headers) for headers, body in self.received]

    async def receive(self, request: Request) -> Response:
        self.received.append((dict(request.headers), await request.body()))
        self.arrived.set()
        if self.hanging:
            await self.released.wait()
        return Response(status_code=self.statuses.pop(0) if self.statuses else 204, headers=self.response_headers)


@asynccontextmanager
async def run_webhook_receiver() -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    async with listen(Starlette(routes=[Route("/hook", receiver.receive, methods=["GET", "POST"])])) as port:
        receiver.url = f"http://127.0.0.1:{port}/hook"
        try:
            yield receiver
        finally:
            receiver.released.set()

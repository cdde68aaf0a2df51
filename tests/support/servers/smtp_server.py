"""A real SMTP server in a thread of this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any

from aiosmtpd.controller import Controller

START_SECONDS = 60.0


class SmtpServer(Controller):
    """Has its port from its creation on. handler, options: those of aiosmtpd's Controller."""

    def __init__(self, handler: object, **options: Any) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        super().__init__(handler, hostname="127.0.0.1", port=port, ready_timeout=START_SECONDS, **options)

    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        return self.loop.create_server(self._factory_invoker, sock=self._listening, ssl=self.ssl_context)

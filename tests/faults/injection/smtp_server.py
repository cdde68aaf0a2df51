"""A real SMTP server that fails as often as configured."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.faults.injection.failing_receiver import SLOW_SECONDS, Failures, Way
from tests.support.servers.running_service import Inbox


class UnreliableInbox(Inbox):
    """fails: how, and how often."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = Failures()

    def told(self) -> dict[str, list[str]]:
        """The Message-IDs that told of each file, by its name without the suffix."""
        found: dict[str, list[str]] = {}
        for message in self.messages():
            name = message["subject"].rpartition(": ")[2].removesuffix(".mp4")
            found.setdefault(name, []).append(message["Message-ID"])
        return found

    async def handle_DATA(self, server: Any, session: object, envelope: Any) -> str:
        identity = next(line for line in envelope.content.split(b"\r\n") if line.lower().startswith(b"message-id"))
        way = self.fails.meet(identity.decode())
        if way is Way.REFUSED:
            return "451 4.3.0 Try again later"
        if way is Way.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
            return "421 4.4.2 Too busy"
        answer = await super().handle_DATA(server, session, envelope)
        if way is Way.UNANSWERED:
            server.transport.abort()
        return answer

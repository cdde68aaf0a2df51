"""A real SMTP server that fails as often as configured."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.faults.injection.failing_receiver import SLOW_SECONDS, Failures, Reaction
from tests.support.servers.running_service import Inbox


class UnreliableInbox(Inbox):
    """failures: how its tries fail, and how often."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = Failures()

    def received_ids(self) -> dict[str, list[str]]:
        """The Message-IDs of the received messages about each file, by the file's name without its suffix."""
        ids: dict[str, list[str]] = {}
        for message in self.messages():
            name = message["subject"].rpartition(": ")[2].removesuffix(".mp4")
            ids.setdefault(name, []).append(message["Message-ID"])
        return ids

    async def handle_DATA(self, server: Any, session: object, envelope: Any) -> str:
        message_id = next(line for line in envelope.content.split(b"\r\n") if line.lower().startswith(b"message-id"))
        reaction = self.failures.react(message_id.decode())
        if reaction is Reaction.REFUSED:
            return "451 4.3.0 Try again later"
        if reaction is Reaction.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
            return "421 4.4.2 Too busy"
        answer = await super().handle_DATA(server, session, envelope)
        if reaction is Reaction.UNANSWERED:
            server.transport.abort()
        return answer
